"""The last weights of the best trials, kept in the study's database: any machine can export them."""

from optuna.trial import FrozenTrial, Trial, TrialState

from kdsearch.engine.training import Training
from kdsearch.models.weights import to_bytes
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import Slot
from kdsearch.store.slots import slot_of

KEPT = 10


def weights_name(slot: Slot) -> str:
    """The file of a slot's weights in the record."""
    return f"weights-{slot.place}-{slot.attempt}.safetensors"


def keep_weights(trial: Trial, record: StudyRecord, slot: Slot, training: Training) -> None:
    """Stores the weights before Optuna is told, if they are among the best; drops those no longer there."""
    trials = trial.study.get_trials(deepcopy=False)
    best = sorted((t for t in trials if t.state == TrialState.COMPLETE), key=_rank)[:KEPT]
    if len(best) == KEPT and _rank(best[-1]) <= (-training.last.val_accuracy, training.last.val_loss):
        return
    record.put_file(weights_name(slot), to_bytes(training.final.state_dict()), replace=True)
    rivals = [t for t in trials if t.state == TrialState.RUNNING]  # they may have written theirs already
    keep = {weights_name(slot), *map(_name, best[: KEPT - 1]), *map(_name, rivals)}
    for name in record.files():
        if name.startswith("weights-") and name not in keep:
            record.delete_file(name)


def _rank(trial: FrozenTrial) -> tuple[float, float]:
    return -(trial.value or 0.0), trial.user_attrs.get("val_loss", float("inf"))


def _name(trial: FrozenTrial) -> str:
    slot = slot_of(trial)
    return weights_name(slot) if slot else ""
