"""The rate of a study while workers train it. Loads no torch."""

from collections.abc import Iterable

from optuna.trial import FrozenTrial

LATEST = 20  # trials that the rate is taken from
PAUSE_SECONDS = 60.0  # a longer time without a trial is no work


def rate_of(finished: Iterable[FrozenTrial]) -> float | None:
    """Trials a second, over the latest LATEST of these finished ones; None for fewer than two.

    Of the time from the first one's start to the last one's end, pauses are left out: times in which none of
    them ran.
    """
    spans = [
        (trial.datetime_complete.timestamp(), trial.datetime_start.timestamp())
        for trial in finished
        if trial.datetime_start and trial.datetime_complete
    ]
    latest = sorted((start, end) for end, start in sorted(spans)[-LATEST:])
    busy, reached = 0.0, latest[0][0] if latest else 0.0
    for start, end in latest:
        since = reached if start - reached <= PAUSE_SECONDS else start
        busy += max(0.0, end - since)
        reached = max(reached, end)
    return len(latest) / busy if len(latest) > 1 and busy > 0 else None
