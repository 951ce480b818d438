"""The time of a run, part by part."""

import time
from typing import Any

from kdsearch.run.protocol import LATER_VIEWS, OVERHEAD

# Parts that all workers spend time on side by side.
SHARED = ("start-up of workers", "training", OVERHEAD, "waiting")


class Account:
    """Seconds by part, as the processes report them."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.seconds: dict[str, float] = {}

    def add(self, part: str, seconds: float) -> None:
        """Adds to what the part has taken so far."""
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds

    def fields(self, workers: int, mirror: float) -> dict[str, Any]:
        """The fields of a Summary about time, now that the run is over; `mirror` is the mirror's seconds."""
        parts = {
            part: value / max(1, workers) if part in SHARED else value for part, value in self.seconds.items()
        }
        beside = {"mirror": mirror}
        if LATER_VIEWS in parts:
            beside[LATER_VIEWS] = parts.pop(LATER_VIEWS)
        parts["all"] = time.monotonic() - self.started
        return {"seconds": parts, "beside": beside, "overhead": parts.get(OVERHEAD, 0.0) + mirror}
