"""When a search gives up: failures in a row, or too many of them."""

from collections.abc import Sequence

from optuna.trial import FrozenTrial

from kdsearch.errors import SearchError
from kdsearch.store.queue import MAX_DEATHS, died_too_often
from kdsearch.store.slots import is_finished, mark_of

IN_A_ROW = 5


def check_failures(trials: Sequence[FrozenTrial], since: int, target: int) -> None:
    """Raises SearchError where the trials numbered from `since` on failed too often, with the last reason.

    Five in a row, or more than 10 + a tenth of the target. Surplus, duplicate and interrupted trials are no
    failures, and a lost one is only when it has been lost too often.
    """
    latest = trials[since:]
    failed = {trial.number for trial in latest if is_failure(trial, trials)}
    ended = [trial for trial in latest if is_finished(trial) or trial.number in failed]
    in_a_row = len(ended) >= IN_A_ROW and all(trial.number in failed for trial in ended[-IN_A_ROW:])
    if in_a_row or len(failed) > 10 + target // 10:
        how = f"{IN_A_ROW} trials in a row" if in_a_row else f"{len(failed)} of {len(ended)} trials"
        raise SearchError(f"{how} failed; the last one: {_reason(trials[max(failed)])}")


def is_failure(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> bool:
    """Whether the trial failed by itself, or lost its worker once more than it is retried."""
    return mark_of(trial) == "failed" or died_too_often(trial, trials)


def _reason(trial: FrozenTrial) -> str:
    reason: str = trial.user_attrs.get("reason", f"lost its worker process {MAX_DEATHS + 1} times")
    return reason
