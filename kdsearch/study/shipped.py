"""The study files that come with kdsearch. Loads no torch."""

import tomllib
from importlib.resources import files
from pathlib import Path


def shipped() -> dict[str, str]:
    """Name to TOML text, in alphabetical order."""
    found = (each for each in files("kdsearch.studies").iterdir() if each.name.endswith(".toml"))
    texts = {Path(each.name).stem: each.read_text(encoding="utf-8") for each in found}
    return dict(sorted(texts.items()))


def descriptions() -> dict[str, str]:
    """Name to the file's own description."""
    return {name: str(tomllib.loads(text).get("description", "")) for name, text in shipped().items()}
