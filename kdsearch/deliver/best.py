"""The best trial of a study so far, and its weights; imports nothing that only an export needs."""

from typing import Any, NamedTuple

import optuna
from torch import Tensor

from kdsearch.errors import NothingFinishedError, StorageError
from kdsearch.models.student import Network, NetworkConfig, build_student, read_config
from kdsearch.models.weights import from_bytes
from kdsearch.store.facts import StudentFacts
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import Run
from kdsearch.store.trials import Trials


class Winner(NamedTuple):
    """The best trial so far, and its weights."""

    number: int  # of its trial
    run: Run
    accuracy: float  # on the validation images, 0 to 1
    facts: StudentFacts
    params: dict[str, Any]  # that were sampled
    config: NetworkConfig
    state: dict[str, Tensor]
    trials: Trials  # the study's when it was the best of them

    def student(self) -> Network:
        """The trained network, in evaluation mode."""
        student = build_student(self.config)
        student.load_state_dict(self.state)
        return student.eval()


def find_winner(study: optuna.Study, record: StudyRecord) -> Winner:
    """Raises NothingFinishedError before the first complete trial, StorageError if weights are gone."""
    trials = Trials.of(study)
    trial = trials.best
    if trial is None:
        raise NothingFinishedError(
            f"study {study.study_name!r} has no finished trial to export yet; 'kdsearch run' trains some"
        )
    facts, run = trial.facts.student, trial.run
    weights = record.file(run.weights) if run else None
    if weights is None or run is None or facts is None:
        raise StorageError(
            f"study {study.study_name!r}: the weights of trial {trial.number} are not in the database"
        )
    config, state = read_config(facts.network), from_bytes(weights)
    return Winner(trial.number, run, trial.accuracy, facts, trial.frozen.params, config, state, trials)
