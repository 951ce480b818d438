"""What the command line says instead of a study file. Loads no torch."""

from typing import Any

from kdsearch.config import Record
from kdsearch.search.messages import Request
from kdsearch.study.setting import parse_setting


class Overrides(Record):
    """Values of the command line that stand above the study file's; None leaves the file's."""

    workers: str | None = None
    seed: int | None = None
    device: str | None = None
    data: str | None = None
    storage: str | None = None
    tracking_uri: str | None = None
    name: str | None = None
    pruner: str | None = None
    settings: tuple[str, ...] = ()  # table.key=value

    def replaced(self) -> dict[str, Any]:
        """By the study file's `table.key`."""
        named = {
            "run.workers": self.workers,
            "seed": self.seed,
            "run.device": self.device,
            "data.path": self.data,
            "run.storage": self.storage,
            "run.tracking_uri": self.tracking_uri,
            "name": self.name,
            "search.pruner": self.pruner,
        }
        return {key: value for key, value in named.items() if value is not None}


def request(study: str, given: Overrides, **rest: Any) -> Request:
    """What is asked for: `study` with the values given for it. Raises StudyFileError."""
    settings = dict(map(parse_setting, given.settings))
    return Request(study=study, replaced=given.replaced(), settings=settings, **rest)
