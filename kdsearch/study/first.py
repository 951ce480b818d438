"""The tables [[first]] of a study file: hand-written trials, by the names of their parameters in Optuna."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from kdsearch.config import Choices
from kdsearch.errors import StudyFileError
from kdsearch.names import nearest_first
from kdsearch.study.space import Place, Space


def read_first(
    file: str, given: Any, spaces: Mapping[str, Space], known: Collection[str], *, lenient: bool
) -> list[dict[str, Any]]:
    """The sampled parameters of each hand-written trial, in the file's order.

    `known` are the parameters that some study has. A trial with a value that this study does not allow is an
    error, or left out if `lenient`. Raises StudyFileError.
    """
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise StudyFileError(f"{file}: first = {given!r}: must be tables, [[first]]")
    trials = []
    for number, table in enumerate(given, start=1):
        place = Place(file, f"first, number {number}")
        trial = dict(_flat(table))
        for name in trial:
            if name not in known:
                raise place.error(
                    f"unknown parameter {name!r}; known, nearest first: {nearest_first(name, known)}"
                )
        fault = next((fault for name, value in trial.items() if (fault := _fault(name, value, spaces))), None)
        if fault is None:
            trials.append({name: value for name, value in trial.items() if _is_sampled(name, spaces)})
        elif not lenient:
            raise place.error(fault)
    return trials


def _flat(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """TOML reads `student.family` without quotation marks as a table in a table."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{name}", each) for name, each in value.items())
        else:
            yield key, value


def _is_sampled(name: str, spaces: Mapping[str, Space]) -> bool:
    prefix, field = name.split(".")
    return field in spaces[prefix].searched


def _fault(name: str, value: Any, spaces: Mapping[str, Space]) -> str | None:
    """The reason why no trial of the study can have this value, with the cure; None if one can."""
    prefix, field = name.split(".")
    if prefix not in spaces:
        return f"{name}: this study does not list {prefix!r}; list it or drop the line"
    space = spaces[prefix]
    if field not in space.searched:
        fixed = space.fixed[field]
        same = value == fixed and isinstance(value, bool) == isinstance(fixed, bool)
        return None if same else f"{name} = {value!r}: the study fixes it at {fixed!r}; drop the line"
    searched = space.searched[field]
    if isinstance(searched, Choices):
        allowed = any(value == each and type(value) is type(each) for each in searched.values)
    else:
        kinds = (int,) if space.is_integer(field) else (int, float)
        allowed = type(value) in kinds and searched.low <= value <= searched.high
    return None if allowed else f"{name} = {value!r}: the study searches {searched}; give one of these values"
