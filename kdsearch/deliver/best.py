"""The best trial of a study so far, and its weights; loads nothing that only an export needs."""

from typing import NamedTuple

import optuna
from optuna.trial import FrozenTrial
from torch import Tensor

from kdsearch.errors import NothingFinishedError, StorageError
from kdsearch.models.student import Network, NetworkConfig, build_student, read_config
from kdsearch.models.weights import from_bytes
from kdsearch.search.results import ranked
from kdsearch.search.weights import weights_name
from kdsearch.store.record import StudyRecord
from kdsearch.store.slots import slot_of


class Winner(NamedTuple):
    """The best trial so far, and its weights."""

    trial: FrozenTrial
    config: NetworkConfig
    state: dict[str, Tensor]

    def student(self) -> Network:
        """The trained network, in evaluation mode."""
        student = build_student(self.config)
        student.load_state_dict(self.state)
        return student.eval()


def find_winner(study: optuna.Study, record: StudyRecord) -> Winner:
    """Raises NothingFinishedError before the first complete trial, StorageError where weights are gone."""
    best = ranked(study)
    if not best:
        raise NothingFinishedError(
            f"study {study.study_name!r} has no finished trial to export yet; 'kdsearch run' trains some"
        )
    trial = best[0]
    slot = slot_of(trial)
    weights = record.file(weights_name(slot)) if slot else None
    if weights is None:
        raise StorageError(
            f"study {study.study_name!r}: the weights of trial {trial.number} are not in the database"
        )
    config = read_config(trial.user_attrs["student"]["config"]["student"])
    return Winner(trial, config, from_bytes(weights))
