"""The result of one epoch of training."""

from kdsearch.config import Record


class EpochResult(Record):
    """One row of the record. Losses are means over the epoch's images; accuracy lies between 0 and 1."""

    epoch: int
    train_loss: float
    parts: dict[str, float]  # the unweighted parts of train_loss by name: ce, kl, ...
    val_loss: float
    val_accuracy: float
    learning_rate: float
    images_per_second: float
    seconds: float  # training and validation of this epoch
    finished_at: float  # seconds since 1970, by this machine's clock
