"""What an export says of itself for programs, its `config.json`. Loads no torch."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from kdsearch.config import Record
from kdsearch.errors import UsageError
from kdsearch.files import read_text
from kdsearch.store.runs import SEARCH
from kdsearch.study.space import first_problem
from kdsearch.tables import Fit

CONFIG = "config.json"  # by which an export is known


class Preprocessing(Record):
    """How an image file becomes a network's input; the study says the size, and `resize` and `crop`."""

    size: Annotated[int, Field(ge=1)]  # height and width
    resize: Literal["shorter side, bilinear, antialias", "both sides, bilinear, antialias"]
    crop: Literal["centre", "none"]
    channels: Literal[3] = 3
    gray: Literal["repeated"] = "repeated"
    range: tuple[Literal[0], Literal[1]] = (0, 1)
    normalisation: Literal["inside the network"] = "inside the network"

    @classmethod
    def of(cls, size: int, fit: Fit) -> "Preprocessing":
        if fit == "whole":
            return cls(size=size, resize="both sides, bilinear, antialias", crop="none")
        return cls(size=size, resize="shorter side, bilinear, antialias", crop="centre")

    @property
    def fit(self) -> Fit:
        return "crop" if self.crop == "centre" else "whole"


class Described(Record):
    """The content of `config.json` without the network's shape."""

    study: str
    trial: int
    phase: str = SEARCH  # in which the weights were trained
    seed: int | None = None  # of their initialisation and dropout
    classes: tuple[str, ...]
    parameters: int
    macs: int
    input: Preprocessing


class AnyStudent(Described):
    """The content of `config.json`, whose network is known by other files."""

    student: dict[str, Any]


def read_config(folder: Path) -> Described:
    """The description of the export in a folder. Raises UsageError if it is none, or of another version."""
    path = folder / CONFIG
    try:
        return AnyStudent.model_validate_json(read_text(path, UsageError))
    except UsageError as error:
        raise UsageError(f"{error}; name an export, as 'kdsearch export-best' makes one") from None
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise UsageError(
            f"{path}: {f'{where}: ' if where else ''}{first_problem(error)}; it is damaged or of another "
            "version of kdsearch: export again"
        ) from None
