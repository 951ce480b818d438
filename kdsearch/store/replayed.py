"""A trial that was trained again, beside what the record has of it."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from kdsearch.config import Record
from kdsearch.epoch import EpochResult

COMPARED = "train_loss", "val_loss", "val_accuracy", "learning_rate"  # besides the parts of the loss
Weights = Literal["stored", "there", "left"]  # again, still there, or left out of the database


class Difference(Record):
    """The first number that is not the recorded one; None in place of a number that there is not."""

    epoch: int  # from 0, as in the record
    field: str  # of an EpochResult; a part of the loss is `parts.NAME`
    recorded: float | None
    replayed: float | None


class Change(Record):
    """Something that numbers may depend on, when the trial was trained and now."""

    recorded: str
    now: str


class Replayed(Record):
    """What a replay found."""

    study: str
    trial: int
    epochs: int  # that the record has
    compared: int  # epochs, the one that differs included
    equal: bool  # all numbers of all recorded epochs, bitwise
    first_difference: Difference | None = None
    surroundings: dict[str, Change] = Field(default_factory=dict)  # what differs: commit, torch, ...
    weights: Weights | None = None  # what became of them; None: not asked for


def difference(recorded: EpochResult, replayed: EpochResult) -> Difference | None:
    """The first number in which two results of one epoch differ; NaN equals NaN."""
    before, now = _numbers(recorded), _numbers(replayed)
    for field in {**before, **now}:
        one, other = before.get(field), now.get(field)
        both_nan = one != one and other != other
        if one != other and not both_nan:
            return Difference(epoch=replayed.epoch, field=field, recorded=one, replayed=other)
    return None


def _numbers(result: EpochResult) -> dict[str, float]:
    parts = {f"parts.{name}": value for name, value in result.parts.items()}
    return {**{name: getattr(result, name) for name in COMPARED}, **parts}


def changes(recorded: Mapping[str, str], now: Mapping[str, str]) -> dict[str, Change]:
    """What differs between two provenances, each package by its name; what one of them lacks is left out."""
    before, after = _each(recorded), _each(now)
    differing = (name for name in before if name in after and before[name] != after[name])
    return {name: Change(recorded=before[name], now=after[name]) for name in differing}


def _each(provenance: Mapping[str, str]) -> dict[str, str]:
    packages = dict(each.split("==", 1) for each in provenance.get("versions", "").split())
    return {**packages, **{name: value for name, value in provenance.items() if name != "versions"}}
