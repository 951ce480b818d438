"""Distillation losses, by the name that study files use."""

from kdsearch.distill.kl import KL
from kdsearch.distill.loss import Loss

LOSSES: dict[str, type[Loss]] = {
    "kl": KL,
}
