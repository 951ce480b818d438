"""Logit standardisation."""

from torch import Tensor


def standardised(logits: Tensor) -> Tensor:
    """Each image's logits minus their mean, divided by their standard deviation: float32, B x C.

    Logit standardisation, arXiv 2403.01427 (2024), algorithm 1: the student need not match the teacher's
    scale, which it seldom can. Logits that are all equal become 0.
    """
    logits = logits.float()
    centred = logits - logits.mean(1, keepdim=True)
    deviation = logits.std(1, keepdim=True)
    standard: Tensor = centred / (deviation + 1e-7)
    return standard


def scaled(logits: Tensor, temperature: float, standardise: bool) -> Tensor:
    """The logits divided by the temperature, in float32, standardised first if `standardise` is true."""
    return (standardised(logits) if standardise else logits.float()) / temperature
