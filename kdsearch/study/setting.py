"""One value of a study file, as the command line gives it. Loads no torch."""

import tomllib
from typing import Any

from kdsearch.errors import StudyFileError
from kdsearch.urls import masked


def parse_setting(text: str) -> tuple[str, Any]:
    """`table.key=value`, the value read as TOML, or as text where it is no TOML. Raises StudyFileError."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise StudyFileError(f"--set {masked(text)}: write table.key=value, as in --set training.epochs=20")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()
    except (ValueError, RecursionError) as error:
        raise StudyFileError(f"--set {key.strip()}: not a value of TOML ({error})") from None
