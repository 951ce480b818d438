"""The process that trains a trial again, in the surroundings of a worker."""

from contextlib import suppress
from multiprocessing.connection import Connection

from optuna.trial import TrialState

from kdsearch.engine.training import InterruptedTrainingError, Training
from kdsearch.models.weights import to_bytes
from kdsearch.phases.bench import Bench
from kdsearch.phases.provenance import provenance
from kdsearch.progress import Progress
from kdsearch.run.child import child, leave
from kdsearch.run.protocol import Compared, Job
from kdsearch.run.worker import open_bench
from kdsearch.store.replayed import Replayed, Weights, changes, difference
from kdsearch.store.trials import StudyTrial, Trials
from kdsearch.study.trial_config import TrialConfig


def replay_process(connection: Connection, job: Job, number: int, keep: bool) -> None:
    """The main function of that process; `keep` stores the weights again, see `replay`."""
    with child(connection) as (channel, stop):
        study, _, bench = open_bench(job, channel, stop)
        with suppress(InterruptedTrainingError):  # whoever wanted to know is gone
            channel.send(Compared(replay(Trials.of(study)[number], bench, channel, keep=keep)))
        leave(0)


def replay(trial: StudyTrial, bench: Bench, progress: Progress, *, keep: bool = False) -> Replayed:
    """Trains a trial with recorded epochs again, until an epoch differs or the record has no more.

    It reads the study, and changes nothing but this: `keep` stores the weights of a complete trial if all its
    epochs are the same and the record has them no longer.
    """
    run, student = trial.run, trial.facts.student
    assert run is not None, "a trial with recorded epochs has a place"
    assert student is not None, "a trial with recorded epochs has a student"
    recorded = bench.record.epochs(run)
    training = bench.training(TrialConfig.model_validate(student.config), run)
    task, found = f"trial {trial.number}", None
    progress.step(task, 0, len(recorded))
    for before, now in zip(recorded, training, strict=False):  # a pruned trial stopped before its end
        progress.step(task, len(training.results), len(recorded), f"accuracy {now.val_accuracy:.2%}")
        found = difference(before, now)
        if found:
            break
    equal = found is None and len(training.results) == len(recorded)
    return Replayed(
        study=bench.record.study,
        trial=trial.number,
        epochs=len(recorded),
        compared=len(training.results),
        equal=equal,
        first_difference=found,
        surroundings=changes(student.provenance, provenance(bench)),
        weights=_keep_weights(trial, bench, training, equal=equal) if keep else None,
    )


def _keep_weights(trial: StudyTrial, bench: Bench, training: Training, *, equal: bool) -> Weights:
    """What became of the weights, as `Replayed.weights` says it."""
    whole = len(training.results) == training.config.epochs
    if trial.run is None or trial.state != TrialState.COMPLETE or not (equal and whole):
        return "left"
    if trial.run.weights in bench.record.files():
        return "there"
    bench.record.put_file(trial.run.weights, to_bytes(training.final.state_dict()))
    return "stored"
