"""The time of a run, part by part."""

from typing import Any

from kdsearch.run.protocol import LATER_VIEWS, OVERHEAD

# Parts that all workers spend time on side by side.
SHARED = ("start-up of workers", "training", OVERHEAD, "waiting")


def accounts(seconds: dict[str, float], workers: int, mirror: float) -> dict[str, Any]:
    """The fields of a Summary that say what took how long, from what the processes have told."""
    shared = {part: value / max(1, workers) for part, value in seconds.items() if part in SHARED}
    parts, beside = {**seconds, **shared}, {"mirror": mirror}
    if LATER_VIEWS in parts:
        beside[LATER_VIEWS] = parts.pop(LATER_VIEWS)
    return {"seconds": parts, "beside": beside, "overhead": parts.get(OVERHEAD, 0.0) + mirror}
