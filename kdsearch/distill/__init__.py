"""Distillation losses, by the name that study files use."""

from kdsearch.distill.at import AT
from kdsearch.distill.dist import DIST
from kdsearch.distill.dkd import DKD
from kdsearch.distill.dm import DM
from kdsearch.distill.fitnet import FitNet
from kdsearch.distill.kl import KL
from kdsearch.distill.loss import Loss
from kdsearch.distill.rkd import RKD
from kdsearch.distill.sp import SP

LOSSES: dict[str, type[Loss]] = {
    "kl": KL,
    "fitnet": FitNet,
    "rkd": RKD,
    "dm": DM,
    "dkd": DKD,
    "dist": DIST,
    "at": AT,
    "sp": SP,
}
