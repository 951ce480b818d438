"""The last weights of the best trials, kept in the study's database: any machine can export them."""

from optuna.trial import Trial, TrialState

from kdsearch.engine.training import Training
from kdsearch.models.measure import count_parameters
from kdsearch.models.weights import to_bytes
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import Run
from kdsearch.store.trials import Trials

KEPT = 10


def keep_weights(trial: Trial, record: StudyRecord, run: Run, training: Training, before: Trials) -> None:
    """Stores the weights before Optuna is told, if they are among the best; drops those no longer there.

    `before` are the study's trials at some earlier moment.
    """
    trials = Trials.of(trial.study, before)
    best = trials.ranked[:KEPT]
    own = -training.last.val_accuracy, training.last.val_loss, count_parameters(training.final)
    if len(best) == KEPT and best[-1].rank <= own:
        return
    record.put_file(run.weights, to_bytes(training.final.state_dict()), replace=True)
    rivals = trials.in_state(TrialState.RUNNING)  # they may have written theirs already
    keep = {run.weights, *(each.run.weights for each in (*best[: KEPT - 1], *rivals) if each.run)}
    for name in record.files():
        if run.has_weights(name) and name not in keep:
            record.delete_file(name)
