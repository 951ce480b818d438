"""The study files that come with kdsearch. Loads no torch."""

import tomllib
from importlib.resources import files
from pathlib import Path

from kdsearch.config import Record


class ShippedStudy(Record):
    name: str
    description: str
    recipe: str = ""  # that it reproduces; empty for a study of ours
    result: str = ""  # as published


def shipped() -> dict[str, str]:
    """The TOML text of each shipped study by its name, in alphabetical order."""
    found = (each for each in files("kdsearch.studies").iterdir() if each.name.endswith(".toml"))
    texts = {Path(each.name).stem: each.read_text(encoding="utf-8") for each in found}
    return dict(sorted(texts.items()))


def shipped_studies() -> list[ShippedStudy]:
    """All shipped studies; recipes come last."""
    tables = {name: tomllib.loads(text) for name, text in shipped().items()}
    studies = [
        ShippedStudy(name=name, description=table["description"], **table.get("published", {}))
        for name, table in tables.items()
    ]
    return sorted(studies, key=lambda study: (bool(study.recipe), study.name))
