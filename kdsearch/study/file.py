"""From a TOML file to a Study."""

import tomllib
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, get_type_hints

from kdsearch.config import Choices, Range, Record
from kdsearch.distill import LOSSES
from kdsearch.engine.training import Training
from kdsearch.errors import StudyFileError
from kdsearch.files import read_text
from kdsearch.models.families import FAMILIES
from kdsearch.names import nearest_first, study_name_fault
from kdsearch.study.architecture import SEARCHED, Architecture, common_layers
from kdsearch.study.distillation import Distillation, check_student_layers, loss_names
from kdsearch.study.first import read_first
from kdsearch.study.shipped import shipped
from kdsearch.study.space import Place, Space, check_keys, read_record, read_space
from kdsearch.study.teachers import check_folds, check_listed, read_teachers
from kdsearch.tables import (
    AugmentationConfig,
    BudgetConfig,
    DataConfig,
    FinalistsConfig,
    PublishedResult,
    RunConfig,
    SearchConfig,
    TeacherConfig,
    ViewsConfig,
)

SPACES: dict[str, type[Record]] = {
    "student": Architecture,
    "training": Training.Config,
    "distillation": Distillation,
}
OPTIONS: dict[str, type[Record]] = {name: family.config for name, family in FAMILIES.items()}
CONFIGS: dict[str, type[Record]] = {name: loss.Config for name, loss in LOSSES.items()}
PARAMETERS = [
    f"{name}.{field}"
    for name, record in {**SPACES, **OPTIONS, **CONFIGS}.items()
    for field in record.model_fields
]
NESTED = ("families", "losses", "teachers")
SEEDS = range(2**63)  # TOML has no larger integer, and NumPy takes no negative seed
HEAD: dict[str, type] = {"name": str, "description": str, "seed": int}


class Study:
    """A validated study: settings that hold for all its trials, and spaces that a trial is drawn from.

    `tables` is the study file with every default filled in. `first` are the parameters of hand-written
    trials; one that the rest of the study does not allow is left out if `lenient`. Raises StudyFileError for
    what does not fit.
    """

    name: str
    description: str
    seed: int
    data: DataConfig
    augmentation: AugmentationConfig
    views: ViewsConfig
    teacher: TeacherConfig  # what its teachers have in common
    budget: BudgetConfig
    search: SearchConfig
    finalists: FinalistsConfig
    run: RunConfig
    published: PublishedResult
    student: Space
    training: Space
    distillation: Space

    def __init__(self, tables: Mapping[str, Any], file: str, *, lenient: bool = False) -> None:
        check_keys(Place(file, ""), tables, [*HEAD, *SETTINGS, *SPACES, *NESTED, "first"], "table or key")
        self.file = file
        head = {key: _head(file, key, tables) for key in HEAD}
        settings = {
            name: read_record(Place(file, name), _table(file, tables, name), record)
            for name, record in SETTINGS.items()
        }
        vars(self).update(head | settings)
        own = _table(file, tables, "teachers")
        self.teachers = read_teachers(file, self.teacher, own)
        self.max_params = self.budget.max_params
        defaults = {"distillation": {"teacher": list(self.teachers)}}
        spaces = {
            name: read_space(
                Place(file, name), {**defaults.get(name, {}), **_table(file, tables, name)}, record
            )
            for name, record in SPACES.items()
        }
        vars(self).update(spaces)
        families = self.student.possible("family") if self.searches_networks else ()
        self.families = _nested(file, tables, "families", families, OPTIONS)
        losses = dict.fromkeys(
            name for loss in self.distillation.possible("loss") for name in loss_names(loss)
        )
        self.losses = _nested(file, tables, "losses", tuple(losses), CONFIGS)
        self._check(file)
        self.first = read_first(file, tables.get("first", []), self.spaces, PARAMETERS, lenient=lenient)
        self.tables = {
            **head,
            **{name: record.model_dump() for name, record in settings.items()},
            **{name: space.resolved() for name, space in spaces.items()},
            "families": {name: space.resolved() for name, space in self.families.items()},
            "losses": {name: space.resolved() for name, space in self.losses.items()},
            "teachers": {name: self.teachers[name].model_dump() for name in sorted(own)},
            "first": self.first,
        }

    def replace(self, key: str, value: Any) -> "Study":
        """A copy of the study with another value or table at `table.key`. Raises StudyFileError."""
        return Study(_replaced(self.file, self.tables, key, value), self.file, lenient=True)

    def _check(self, file: str) -> None:
        """Raises StudyFileError if tables that are valid alone contradict each other."""
        finish, shortest = max(self.training.possible("finish_epochs")), min(self.training.possible("epochs"))
        if finish >= shortest:
            raise Place(file, "training").error(
                f"finish_epochs = {finish} leaves nothing of {shortest} epochs; give fewer"
            )
        layers = common_layers(self.student)
        for name, space in self.losses.items():
            check_student_layers(Place(file, f"losses.{name}"), space, layers)
        check_listed(file, self.distillation.possible("teacher"), list(self.teachers), self.hint_losses)
        check_folds(file, self.teachers, [name for name in self.losses if LOSSES[name].reads != {"logits"}])

    @property
    def hint_losses(self) -> tuple[str, ...]:
        """The losses that read feature maps, which no view holds: for them the worker runs the teacher."""
        return tuple(name for name in self.losses if "hints" in LOSSES[name].reads)

    @property
    def spaces(self) -> dict[str, Space]:
        """Every space by the prefix that its parameters have in Optuna and MLflow."""
        always = {"student": self.student, "training": self.training, "distillation": self.distillation}
        return {**always, **self.families, **self.losses}

    @property
    def searches_networks(self) -> bool:
        """Whether any trial may draw a network that is not a published one."""
        return SEARCHED in self.student.possible("network")

    @property
    def max_epochs(self) -> int:
        """The longest training that a trial may draw."""
        return int(max(self.training.possible("epochs")))

    def parameters(self) -> dict[str, str]:
        """Every parameter that a trial samples, and whether it is a `number` or a `choice`.

        A field that has an effect in no trial of the study is none.
        """
        network = SEARCHED if self.searches_networks else self.student.possible("network")[0]
        loss = max(self.distillation.possible("loss"), key=lambda loss: len(loss_names(loss)))
        most = {"network": network, "stages": max(self.student.possible("stages")), "loss": loss}
        blocks = product(self.student.possible("family"), self.student.possible("shortcut"))
        each = [{**most, "family": family, "shortcut": shortcut} for family, shortcut in blocks]
        return {
            f"{prefix}.{name}": "number" if _is_number(searched) else "choice"
            for prefix, space in self.spaces.items()
            for name, searched in space.searched.items()
            if any(space.record.is_active(name, values) for values in each)
        }


SETTINGS: dict[str, type[Record]] = {
    name: kind for name, kind in get_type_hints(Study).items() if issubclass(kind, Record)
}


def _is_number(searched: Range | Choices) -> bool:
    return isinstance(searched, Range) or all(type(value) in (int, float) for value in searched.values)


def _head(file: str, key: str, tables: Mapping[str, Any]) -> Any:
    default: dict[str, Any] = {"name": Path(file).stem, "description": "", "seed": 0}
    value = tables.get(key, default[key])
    if type(value) is not HEAD[key]:
        raise StudyFileError(
            f"{file}: {key} = {value!r}: must be {'an integer' if key == 'seed' else 'text'}"
        )
    if key == "seed" and value not in SEEDS:
        raise StudyFileError(f"{file}: seed = {value}: must be from 0 to {SEEDS[-1]}")
    return value


def _table(file: str, tables: Mapping[str, Any], name: str, above: str = "") -> Mapping[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise StudyFileError(f"{file}: {above}{name} = {table!r}: must be a table, [{above}{name}]")
    return table


def _nested(
    file: str,
    tables: Mapping[str, Any],
    name: str,
    listed: tuple[str, ...],
    known: Mapping[str, type[Record]],
) -> dict[str, Space]:
    """The tables [families.X] or [losses.X]: one for each X that the study lists, and for no other."""
    given = _table(file, tables, name)
    check_keys(Place(file, name), given, list(known), "table")
    for other in given:
        if other not in listed:
            where = "student.family" if name == "families" else "distillation.loss"
            raise StudyFileError(
                f"{file} [{name}.{other}]: {where} does not list {other!r}; list it or drop the table"
            )
    return {
        each: read_space(Place(file, f"{name}.{each}"), _table(file, given, each, f"{name}."), known[each])
        for each in listed
    }


def load_study(name: str, values: Mapping[str, Any]) -> Study:
    """The shipped study of that name, or the one in that TOML file, with other `values` by their `table.key`.

    Raises StudyFileError, also for a bad name, although a study of an earlier version may have it.
    """
    file, text = _read(name)
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also for a number of thousands of digits, or [[[[...
        raise StudyFileError(f"{file}: not valid TOML: {error}") from None
    for key, value in values.items():
        tables = _replaced(file, tables, key, value)
    study = Study(tables, file, lenient=bool(values))
    if fault := study_name_fault(study.name):
        raise StudyFileError(f"{file}: name = {study.name!r}: {fault}; --name gives another")
    return study


def _read(name: str) -> tuple[str, str]:
    if name.endswith(".toml") or "/" in name:
        return Path(name).name, read_text(Path(name), StudyFileError)
    known = shipped()
    if name not in known:
        names = nearest_first(name, known)
        raise StudyFileError(
            f"{name}: no shipped study; known, nearest first: {names}; a file's name ends in .toml"
        )
    return f"{name}.toml", known[name]


def _replaced(file: str, tables: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of the tables with `value` at `table.key`."""
    *path, last = key.split(".")
    table = whole = dict(tables)
    for part in path:
        below = table.get(part, {})
        if not isinstance(below, dict):
            raise StudyFileError(f"{file}: --set {key}: {part} is not a table")
        table[part] = table = dict(below)
    table[last] = value
    return whole
