"""One trial, from its place to its accuracy and weights."""

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain

from optuna import TrialPruned
from optuna.trial import Trial, TrialState

from kdsearch.engine.checkpoint import Checkpoint
from kdsearch.engine.training import InterruptedTrainingError, Training
from kdsearch.epoch import EpochResult
from kdsearch.errors import CacheClearedError, CacheDamagedError, OutageError, StorageError, StudyDeletedError
from kdsearch.models.measure import count_parameters, macs_of
from kdsearch.models.weights import to_bytes
from kdsearch.phases.bench import Bench
from kdsearch.phases.provenance import provenance
from kdsearch.phases.samplers import SAMPLERS, Pruner, warmup_epochs
from kdsearch.phases.suggest import Draw
from kdsearch.store.facts import Audited, End, StudentFacts, keep, study_facts
from kdsearch.store.queue import claim_run, refuse_duplicate
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import Run
from kdsearch.store.trials import StudyTrial, Trials
from kdsearch.study.trial_config import TrialConfig
from kdsearch.teachers.doubts import outdone
from kdsearch.views.batches import derived_seed

KEPT = 10  # trials whose last weights the study's database has, beside those of the front


def run_trial(trial: Trial, bench: Bench, target: int, before: Trials) -> float:
    """Train the student that `trial` asks for; returns its validation accuracy at the last epoch, 0 to 1.

    `before` are the study's trials at some earlier moment. Raises TrialPruned; SurplusTrialError or
    DuplicateTrialError before any training; InterruptedTrainingError after the state has been saved, or could
    not be.
    """
    trials = Trials.of(trial.study, before)
    earlier = trials[trial.number]  # with all that it inherited from the trial that it continues
    run = claim_run(trial, trials, target)
    trial.study.sampler = SAMPLERS[bench.study.search.sampler](bench.seed(run))
    draw = Draw(trial, bench.study)
    config = draw.config(bench)
    refuse_duplicate(trial, run, config.key, trials)
    checkpoint = bench.checkpoint(run, config.key)
    training = checkpoint.resume(partial(bench.training, config, run))
    params = count_parameters(training.network)
    assert params <= bench.study.max_params, f"solve_width let {params} through"
    facts = earlier.facts.student
    if facts is None:
        trial.set_constraint("params", params - bench.study.max_params)
    if facts is None or facts.active is None:
        keep(trial, student=student_facts(bench, draw.active, config, run, params))

    done, epochs = list(training.results), config.training.epochs
    # Of the epochs that are done only the last one's question may be open.
    asked = range(max(warmup_epochs(epochs), len(done) - 1), epochs - 1)
    with saved(checkpoint, training):
        spared = _settle_audit(trial, earlier, bench.record, run, done) or earlier.facts.baseline
        audit = trials if is_audited(bench, run) else None
        stopping = Stopping(trial, bench.pruner, asked, spared, audit)
        for result in chain(done, bench.timed(training)):
            bench.record.epoch(run, result, trial._trial_id)
            checkpoint.save(training)
            if stopping(result):
                trial.report(stopping.curve[-1], result.epoch)  # TPE ranks the trials that were stopped by it
                raise TrialPruned(f"epoch {result.epoch}, accuracy {result.val_accuracy:.3f}")
        keep(trial, val_loss=training.last.val_loss)
        keep_weights(trial, bench.record, run, training, trials)
        if not config.losses:
            for line in outdone(study_facts(trial.study).teachers or {}, training.last.val_accuracy):
                bench.say(line)
    return training.last.val_accuracy


@contextmanager
def saved(checkpoint: Checkpoint, training: Training) -> Iterator[None]:
    """Saves the training if something ends the block that another worker or a later run can go on from."""
    try:
        yield
    except (
        InterruptedTrainingError,
        OutageError,
        StorageError,
        CacheClearedError,
        CacheDamagedError,
    ):
        checkpoint.save(training, now=True)
        raise
    except StudyDeletedError:
        with suppress(OSError):
            checkpoint.path.unlink(missing_ok=True)
        raise


def student_facts(
    bench: Bench, active: Collection[str] | None, config: TrialConfig, run: Run, params: int
) -> StudentFacts:
    return StudentFacts(
        config=config.model_dump(mode="json"),
        active=None if active is None else tuple(active),
        parameters=params,
        macs=macs_of(config.student, bench.image_size),
        seed=bench.seed(run),
        **provenance(bench),
    )


def _settle_audit(
    trial: Trial, earlier: StudyTrial, record: StudyRecord, run: Run, results: list[EpochResult]
) -> bool:
    """Whether the trial has been audited in one of these epochs; all other epochs go, with their audit.

    A training that began anew, or from an older checkpoint, is judged by its own epochs alone; so are
    others by it. On the same device its numbers are the same again.
    """
    recorded, audit = record.epochs(run), earlier.facts.audited
    until = audit.epoch + 1 if audit else 0
    stays = 0 < until <= len(results) and recorded[:until] == results[:until]
    if audit and not stays:
        keep(trial, audited=None)
    if recorded != results:
        record.replace_epochs(run, results)
    return stays


def is_audited(bench: Bench, run: Run) -> bool:
    """Whether a run's trial trains on after the pruner would stop it; the run and the study's seed decide."""
    return derived_seed(bench.study.seed, "audit", run.place, run.attempt) < bench.study.search.audit * 2**63


class Stopping:
    """Says whether a trial should stop: diverged, or weak.

    The pruner is asked about the epochs `asked`, unless the trial is `spared`. An audited trial is marked
    when it would stop, and runs on without further questions; `audit` is None for all others, and holds the
    study's trials at some earlier moment.
    """

    def __init__(
        self, trial: Trial, pruner: Pruner, asked: range, spared: bool, audit: Trials | None
    ) -> None:
        self.trial, self.pruner, self.asked = trial, pruner, asked
        self.spared, self.audit = spared, audit
        self.curve: list[float] = []

    def __call__(self, result: EpochResult) -> bool:
        """Whether the trial should stop after this epoch."""
        diverged = not math.isfinite(result.train_loss + result.val_loss)
        self.curve.append(math.nan if diverged else result.val_accuracy)
        if diverged:
            keep(self.trial, mark=End.DIVERGED)
            return True
        weak = not self.spared and result.epoch in self.asked and self.pruner(self.curve)
        if weak and self.audit is not None:
            best = Trials.of(self.trial.study, self.audit).best
            keep(self.trial, audited=Audited(epoch=result.epoch, best=best.accuracy if best else 0.0))
            self.spared = True
        return weak and not self.spared


def keep_weights(trial: Trial, record: StudyRecord, run: Run, training: Training, before: Trials) -> None:
    """Stores the weights before the result, if they are among the best of all, or the best of their size.

    Drops those that are no longer. `before` are the study's trials at some earlier moment.
    """
    trials = Trials.of(trial.study, before)
    own = -training.last.val_accuracy, training.last.val_loss, count_parameters(training.final)
    best, front = trials.ranked[:KEPT], trials.front("parameters")
    if len(best) == KEPT and own < best[-1].rank:
        best.pop()
    if len(best) == KEPT and any(each.rank[-1] <= own[-1] and each.rank <= own for each in front):
        return
    record.put_file(run.weights, to_bytes(training.final.state_dict()), replace=True)
    rivals = trials.in_state(TrialState.RUNNING)  # they may have written theirs already
    kept = {run.weights, *(each.run.weights for each in (*best, *front, *rivals) if each.run)}
    for name in record.files():
        if run.has_weights(name) and name not in kept:
            record.delete_file(name)
