"""When a search gives up: failures in a row, or too many of them."""

from kdsearch.errors import SearchError
from kdsearch.store.trials import MAX_DEATHS, StudyTrial, Trials

IN_A_ROW = 5


def check_failures(trials: Trials, since: int, target: int) -> None:
    """Raises SearchError where the trials numbered from `since` on failed too often, with the last reason.

    Five in a row, or more than 10 + a tenth of the target. Surplus, duplicate and interrupted trials are no
    failures, and a lost one is only when it has been lost too often.
    """
    failed = {trial.number: trial for trial in trials.failures if trial.number >= since}
    finished = [trial.number for trial in trials.finished if trial.number >= since]
    ended = sorted({*failed, *finished})
    in_a_row = len(ended) >= IN_A_ROW and all(number in failed for number in ended[-IN_A_ROW:])
    if in_a_row or len(failed) > 10 + target // 10:
        how = f"{IN_A_ROW} trials in a row" if in_a_row else f"{len(failed)} of {len(ended)} trials"
        raise SearchError(f"{how} failed; the last one: {_reason(failed[max(failed)])}")


def _reason(trial: StudyTrial) -> str:
    return trial.facts.reason or f"lost its worker process {MAX_DEATHS + 1} times"
