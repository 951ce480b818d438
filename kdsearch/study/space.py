"""One table of a study file: its fixed fields, and the ranges of its searched ones."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, TypeVar, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from kdsearch.config import Choices, Range, Record, Searched, default_search
from kdsearch.errors import StudyFileError
from kdsearch.names import nearest_first

R = TypeVar("R", bound=Record)


class Place(NamedTuple):
    """The place of a value, for messages: the study file's name and the table."""

    file: str
    table: str

    def error(self, message: str) -> StudyFileError:
        """A StudyFileError that begins with the place."""
        return StudyFileError(
            f"{self.file} [{self.table}]: {message}" if self.table else f"{self.file}: {message}"
        )


def check_keys(place: Place, given: Mapping[str, Any], known: list[str], what: str = "key") -> None:
    """Raises StudyFileError for the first key that is not known."""
    for key in given:
        if key not in known:
            raise place.error(f"unknown {what} {key!r}; known, nearest first: {nearest_first(key, known)}")


def first_problem(error: ValidationError) -> str:
    """The first mistake that pydantic found, in one line."""
    problem = error.errors()[0]
    text = (
        problem["msg"]
        .removeprefix("Value error, ")
        .replace("Input should", "must")
        .replace("a valid tuple", "a list")
    )
    return text[:1].lower() + text[1:]


class Space:
    """The fields of `record` in one table: some fixed, the others searched over a Range or Choices."""

    def __init__(
        self, record: type[Record], fixed: Mapping[str, Any], searched: Mapping[str, Searched]
    ) -> None:
        self.record, self.fixed, self.searched = record, dict(fixed), dict(searched)

    def make(self, sampled: Mapping[str, Any]) -> Any:
        """The record with the fixed and the sampled values; all other fields keep their default."""
        return self.record(**{**self.fixed, **sampled})

    def possible(self, field: str) -> tuple[Any, ...]:
        """The values that a fixed field or a choice can take."""
        if field in self.searched:
            searched = self.searched[field]
            return searched.values if isinstance(searched, Choices) else (searched.low, searched.high)
        return (self.fixed[field],)

    def resolved(self) -> dict[str, Any]:
        """The table with every field in the study file's own form; reading it back gives an equal space."""
        return {**self.fixed, **{name: _written(searched) for name, searched in self.searched.items()}}

    def is_integer(self, field: str) -> bool:
        """Whether a range of this field is sampled as integers."""
        return self.record.model_fields[field].annotation is int


def _written(searched: Searched) -> Any:
    if isinstance(searched, Choices):
        return list(searched.values)
    return {"low": searched.low, "high": searched.high, "log": searched.log}


def read_space(place: Place, table: Mapping[str, Any], record: type[Record]) -> Space:
    """Reads a table in which every field may be fixed, a choice or a range. Raises StudyFileError."""
    check_keys(place, table, list(record.model_fields))
    fixed: dict[str, Any] = {}
    searched: dict[str, Searched] = {}
    for name, field in record.model_fields.items():
        if name in table:
            value = _read_field(place, name, field, table[name])
        else:
            value = default_search(field) or field.get_default(call_default_factory=True, validated_data={})
        if isinstance(value, Range | Choices):
            searched[name] = value
        else:
            fixed[name] = value
    return Space(record, fixed, searched)


def _read_field(place: Place, name: str, field: FieldInfo, given: Any) -> Any:
    if isinstance(given, list):
        if not given:
            raise place.error(f"{name} = []: a choice needs at least one value")
        values = tuple(_valid(place, name, field, value) for value in given)
        if twice := [value for i, value in enumerate(values) if value in values[:i]]:
            raise place.error(f"{name}: {twice[0]!r} occurs twice among the choices")
        return Choices(values) if len(values) > 1 else values[0]
    if isinstance(given, dict):
        return _read_range(place, name, field, given)
    return _valid(place, name, field, given)


def _read_range(place: Place, name: str, field: FieldInfo, given: dict[str, Any]) -> Range:
    check_keys(Place(place.file, f"{place.table}.{name}"), given, ["low", "high", "log"])
    if field.annotation not in (int, float):
        raise place.error(f"{name}: a range fits numbers only; write one value, or a list of them")
    if not {"low", "high"} <= set(given):
        raise place.error(f"{name}: a range needs low and high, as in {{ low = 1, high = 10 }}")
    low, high = (_valid(place, name, field, given[end]) for end in ("low", "high"))
    log = given.get("log", False)
    if not isinstance(log, bool):
        raise place.error(f"{name}: log must be true or false, not {log!r}")
    if low >= high:
        raise place.error(f"{name}: low {low:g} is not below high {high:g}")
    if log and low <= 0:
        raise place.error(f"{name}: a log range must begin above 0, not at {low:g}")
    return Range(low, high, log)


def _valid(place: Place, name: str, field: FieldInfo, value: Any) -> Any:
    constrained: Any = Annotated[field.annotation, field]
    try:
        valid = TypeAdapter(constrained).validate_python(value, strict=True)
    except ValidationError as error:
        shown = list(value) if isinstance(value, tuple) else value
        raise place.error(f"{name} = {shown!r}: {first_problem(error)}") from None
    if isinstance(valid, float) and not math.isfinite(valid):
        raise place.error(f"{name} = {value!r}: must be a finite number")
    return valid


def read_record(place: Place, table: Mapping[str, Any], record: type[R]) -> R:
    """Reads a table in which every field has one value. Raises StudyFileError."""
    check_keys(place, table, list(record.model_fields))
    for name, value in table.items():
        field = record.model_fields[name]
        listed = get_origin(field.annotation) is tuple
        if isinstance(value, dict) or (isinstance(value, list) and not listed):
            raise place.error(f"{name}: has one value for the whole study; it cannot be searched")
        _valid(place, name, field, tuple(value) if listed and isinstance(value, list) else value)
    try:
        return record(**table)
    except ValidationError as error:  # each value fits, but not beside another one
        raise place.error(first_problem(error)) from None
