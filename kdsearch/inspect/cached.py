"""Lists this machine's cache with the studies that need each entry, and removes the rest."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import optuna
import torch

from kdsearch.cache import clear, entry, is_held, names_in
from kdsearch.config import Record
from kdsearch.data.sources import data_entry, find_source
from kdsearch.database import check_url
from kdsearch.errors import DataError, UsageError
from kdsearch.files import cache_root
from kdsearch.run.views import views_folder
from kdsearch.store.facts import study_facts
from kdsearch.store.identity import find_study, study_at
from kdsearch.store.storage import open_existing
from kdsearch.store.studies import studies_in
from kdsearch.teachers.taught import entry_of

KINDS = ("data", "teachers", "views", "downloads", "unpacked")
DEVICES = ("cpu", "cuda")  # whose teachers and views a study may have here


class CachedEntry(Record):
    kind: str
    path: Path
    size: int  # bytes
    studies: tuple[str, ...]  # that need it, of those in the database
    held: bool  # by a process that lives


class CacheReport(Record):
    folder: Path
    entries: tuple[CachedEntry, ...]

    @property
    def unneeded(self) -> tuple[CachedEntry, ...]:
        """The entries that no study in the database needs and no living process uses."""
        return tuple(each for each in self.entries if not each.studies and not each.held)


def look_at_cache(storage: str) -> CacheReport:
    """The cache's entries by kind, the largest first. Raises StorageError.

    If the database does not exist, no entry counts as needed.
    """
    needed: dict[Path, list[str]] = defaultdict(list)
    for study in _studies(storage):
        for path in set(_needs(study)):
            needed[path].append(study.study_name)
    entries = [
        CachedEntry(
            kind=kind,
            path=path,
            size=_size(path),
            studies=tuple(sorted(needed.get(path, []))),
            held=path.is_dir() and is_held(path),
        )
        for kind in KINDS
        for path in (entry(kind, name) for name in names_in(entry(kind)))
    ]
    entries.sort(key=lambda each: (KINDS.index(each.kind), -each.size, each.path.name))
    return CacheReport(folder=cache_root(), entries=tuple(entries))


def clear_cache(storage: str) -> tuple[CachedEntry, ...]:
    """Removes what no study in the database needs and no living process holds; returns what was removed.

    Raises UsageError if there is no such database: every study's entries would go.
    """
    if not _studies(storage):
        raise UsageError(
            "no study in this database, so that nothing is known to be needed; name another database with "
            f"--storage, or delete {cache_root()}"
        )
    return tuple(each for each in look_at_cache(storage).unneeded if clear(each.path))


def _studies(storage: str) -> list[optuna.Study]:
    check_url(storage)
    try:
        opened = open_existing(storage)
    except UsageError:  # no database yet
        return []
    return [study for name in studies_in(opened) if (study := find_study(opened, name))]


def _needs(optuna_study: optuna.Study) -> Iterator[Path]:
    """The entries that a study uses on this machine; those of its images only while their folder exists."""
    study, facts = study_at(optuna_study, None), study_facts(optuna_study)
    images = facts.data.fingerprint
    try:
        source = find_source(study.data, study.seed)
    except DataError:
        pass
    else:
        yield data_entry(study.data, study.seed, source)
        for archive in source.archives:
            yield entry("downloads", archive.md5)
            yield entry("unpacked", archive.md5)
    for device in DEVICES:
        yield views_folder(study, images, facts.teachers or {}, torch.device(device))
        for name, config in study.teachers.items():
            for fold in config.each_fold:
                yield entry_of(study, name, images, device, fold)


def _size(path: Path) -> int:
    """Bytes of an entry, and of incomplete files beside it."""
    beside = path.parent.glob(f".{path.name}.*")
    files = (file for root in (path, *beside) for file in (root, *root.rglob("*")))
    return sum(file.stat().st_size for file in files if file.is_file())
