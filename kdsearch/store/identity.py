"""A study's identity: stored when the study is created, compared in each later run."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage

from kdsearch.errors import IdentityError, UsageError
from kdsearch.store.facts import StudyFacts, is_foreign, is_whole, keep, study_facts
from kdsearch.study.file import NESTED, Study, load_study
from kdsearch.study.shipped import shipped
from kdsearch.tables import DataConfig, FinalistsConfig

# What may differ between two runs: whole tables and keys, or one key of a table.
FREE = {
    "run": None,
    "finalists": None,
    "description": None,
    "published": None,
    "data": "path",
    "teacher": "checkpoint",
}


def identity_of(study: Study) -> dict[str, Any]:
    """The resolved study file without the settings that may differ between two runs."""
    kept = {}
    for name, table in study.tables.items():
        if name == "teachers":
            kept[name] = {each: _without(given, FREE["teacher"]) for each, given in table.items()}
        elif name not in FREE:
            kept[name] = table
        elif FREE[name] is not None:
            kept[name] = _without(table, FREE[name])
    return kept


def _without(table: Mapping[str, Any], key: str | None) -> dict[str, Any]:
    return {name: value for name, value in table.items() if name != key}


def find_study(storage: BaseStorage, name: str) -> optuna.Study | None:
    """The study of that name, if the storage has it."""
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return None


def open_study(storage: BaseStorage, name: str) -> optuna.Study:
    """A study that exists. Raises UsageError if there is none that kdsearch created."""
    study = find_study(storage, name)
    if study is None or not is_whole(study):
        raise UsageError(
            f"no study {name!r} here; 'kdsearch run' creates one, 'kdsearch status' lists those there are"
        )
    return study


def stored_study(stored: optuna.Study) -> Study:
    """The study as it was created. Raises StudyFileError if it cannot be searched any more."""
    return Study(tables_of(stored), f"study {stored.study_name}")


def tables_of(stored: optuna.Study) -> dict[str, Any]:
    """The tables that the study was created with; keys that it did not know have the value they then had."""
    facts = study_facts(stored)
    return facts.study | {name: facts.study[name] | keys for name, keys in _earlier(facts).items()}


def _earlier(facts: StudyFacts) -> dict[str, dict[str, Any]]:
    """The values that keys of today had in effect when the study was created without them."""
    data = facts.study["data"]
    meant: dict[str, dict[str, Any]] = {
        "student": {
            "stem_stride": 1 if facts.data.image_size <= 32 else 2,
            "full_stages": 0,
            "smallest_map": 2,
        },
        "data": {"source_size": DataConfig.model_validate(data).known_size},  # crops came from `image_size`
    }
    return {
        name: {key: value for key, value in keys.items() if key not in facts.study[name]}
        for name, keys in meant.items()
    }


def continued(stored: optuna.Study, study: Study) -> Study:
    """`study`, whose file may leave `data.source_size` out, with the value that the stored study has."""
    if not is_whole(stored) or study.data.source_size is not None:
        return study
    return study.replace("data.source_size", tables_of(stored)["data"]["source_size"])


def study_at(stored: optuna.Study, path: str | None) -> Study:
    """The study as it was created, but for how it searched, with its images at `path` or their last path."""
    facts = study_facts(stored)
    tables = {name: table for name, table in tables_of(stored).items() if name != "search"}
    return Study(tables, f"study {stored.study_name}").replace("data.path", path or facts.data_path)


def check_settings(stored: optuna.Study, study: Study) -> None:
    """Raises IdentityError if the stored study has other settings, or another program created it."""
    if is_foreign(stored):
        raise IdentityError(
            f"study {stored.study_name!r} in this database was not created by kdsearch; give another name "
            "with --name, or another database with --storage"
        )
    if is_whole(stored):
        before, now = identity_of(stored_study(stored)), identity_of(study)
        now = _less_news(study_facts(stored).study, before, now, Path(study.file).stem)
        changed = sorted(_differences(before, now))
        if changed:
            raise _changed(study.name, ", ".join(changed))


def _less_news(
    known: Mapping[str, Any], before: Mapping[str, Any], now: Mapping[str, Any], file: str
) -> dict[str, Any]:
    """`now`, with the value of `before` for what was not `known` when the study was created.

    That is, if the study file says nothing of its own about it: it leaves it out, or is shipped with it.
    """
    silent = [Study({}, "").tables, *([load_study(file, {}).tables] if file in shipped() else [])]
    settled = dict(now)
    for name, table in now.items():
        if name not in known:
            if any(table == each[name] for each in silent):
                settled[name] = before[name]
        elif isinstance(table, dict) and name not in NESTED:
            news = [key for key in table if key not in known[name]]
            same = [key for key in news if any(table[key] == each[name][key] for each in silent)]
            settled[name] = table | {key: before[name][key] for key in same}
    return settled


def check_data(stored: optuna.Study, name: str, fingerprint: str) -> None:
    """Raises IdentityError if the images have changed since the study was created."""
    if is_whole(stored) and study_facts(stored).data.fingerprint != fingerprint:
        raise _changed(name, "the images of [data] (other content than when it was created)")


def _changed(name: str, what: str) -> IdentityError:
    return IdentityError(
        f"study {name!r} exists with other settings: {what}; undo that, start another study with --name, "
        f"or remove this one with 'kdsearch delete {name}'"
    )


def _differences(stored: Mapping[str, Any], given: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key in {*stored, *given}:
        before, now = stored.get(key), given.get(key)
        if isinstance(before, dict) and isinstance(now, dict) and "low" not in before:
            yield from _differences(before, now, f"{prefix}{key}.")
        elif before != now:
            yield f"{prefix}{key} ({_shown(before)} before, {_shown(now)} now)"


def _shown(value: Any) -> str:
    if isinstance(value, dict) and {"low", "high"} <= set(value):
        return f"{value['low']:g} to {value['high']:g}"
    return "nothing" if value is None else str(value)


def settle_target(study: optuna.Study, given: int | None, finished: int, default: int) -> int:
    """How many finished trials the study is to have: the last number given, else the study file's.

    Never fewer than are finished. Stores it if it is new.
    """
    earlier = study_facts(study).target
    target = max(finished, given or earlier or default)
    if target != earlier:
        keep(study, target=target)
    return target


def settle_finalists(study: optuna.Study, config: FinalistsConfig, *, given: bool) -> None:
    """Keeps how many finalists this run is to have.

    A study of a version that had none gets some only if they were `given` with the command.
    """
    earlier = study_facts(study).finalists
    if config != earlier and (given or earlier is not None):
        keep(study, finalists=config)
