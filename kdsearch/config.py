"""Records, which cannot change, and the ranges that a study may search in their fields."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo


class Record(BaseModel):
    """A frozen, strict, JSON-able value; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    @staticmethod
    def is_active(field: str, drawn: Mapping[str, Any]) -> bool:
        """Whether a searched field has an effect beside the values drawn before it."""
        return True


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; `log` samples their logarithm evenly."""

    low: float
    high: float
    log: bool = False

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', log' if self.log else ''}"


@dataclass(frozen=True)
class Choices:
    values: tuple[Any, ...]

    @classmethod
    def of(cls, *values: Any) -> Self:
        return cls(values)

    def __str__(self) -> str:
        return " | ".join(str(value) for value in self.values)


Searched = Range | Choices


def default_search(field: FieldInfo) -> Searched | None:
    """The range to search if the study file leaves the field out; None: the field keeps its default."""
    return next((mark for mark in field.metadata if isinstance(mark, Range | Choices)), None)
