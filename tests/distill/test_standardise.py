import numpy as np
import torch

from kdsearch.distill import LOSSES
from kdsearch.distill.kl import KL
from kdsearch.distill.loss import standardised
from kdsearch.outputs import Outputs, Shapes

SHAPES = Shapes(5, 5, {})


def test_logits_become_their_z_scores():
    logits = np.random.default_rng(0).normal(3, 5, (4, 7))
    expected = (logits - logits.mean(1, keepdims=True)) / logits.std(1, ddof=1, keepdims=True)
    np.testing.assert_allclose(standardised(torch.from_numpy(logits)).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_standardised_loss_sees_neither_scale_nor_shift():
    drawn = torch.Generator().manual_seed(0)
    ours, theirs = torch.randn((2, 4, 5), generator=drawn)
    for name, kind in LOSSES.items():
        if "standardise" in kind.Config.model_fields:
            loss = kind(kind.Config(standardise=True), SHAPES, SHAPES)
            parts = [
                loss(Outputs(logits, ours, {}), Outputs(theirs, theirs, {}), torch.arange(4))
                for logits in (ours, 7 * ours + 3)
            ]
            torch.testing.assert_close(parts[0], parts[1], msg=name)


def test_without_the_square_kl_is_the_plain_divergence():
    drawn = torch.Generator().manual_seed(0)
    ours, theirs = (Outputs(logits, torch.empty(0), {}) for logits in torch.randn((2, 4, 5), generator=drawn))
    squared, plain = (
        KL(KL.Config(temperature=5.0, square=square), SHAPES, SHAPES)(ours, theirs, torch.arange(4))["kl"]
        for square in (True, False)
    )
    torch.testing.assert_close(squared, 25 * plain)
