"""One trial, from its slot to its accuracy."""

import math
from contextlib import suppress
from functools import partial
from itertools import chain

from optuna import TrialPruned
from optuna.trial import Trial

from kdsearch.engine.training import InterruptedTrainingError
from kdsearch.epoch import EpochResult
from kdsearch.errors import CacheClearedError, CacheDamagedError, OutageError, StorageError, StudyDeletedError
from kdsearch.models.measure import count_parameters, macs_of
from kdsearch.phases.bench import Bench
from kdsearch.phases.provenance import provenance
from kdsearch.phases.pruners import Pruner, warmup_epochs
from kdsearch.phases.samplers import SAMPLERS
from kdsearch.phases.suggest import suggest_config
from kdsearch.phases.weights import keep_weights
from kdsearch.store.audit import audited
from kdsearch.store.duplicates import refuse_duplicate
from kdsearch.store.facts import End, StudentFacts, keep
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import Run
from kdsearch.store.slots import claim_run
from kdsearch.store.trials import StudyTrial, Trials
from kdsearch.study.trial_config import TrialConfig
from kdsearch.views.batches import derived_seed


def run_trial(trial: Trial, bench: Bench, target: int, before: Trials) -> float:
    """Train the student that `trial` asks for; returns its validation accuracy at the last epoch, 0 to 1.

    `before` are the study's trials at some earlier moment. Raises TrialPruned; SurplusTrialError or
    DuplicateTrialError before any training; InterruptedTrainingError after the state has been saved, or could
    not be.
    """
    trials = Trials.of(trial.study, before)
    held = trials[trial.number]  # with all that it inherited from the trial that it continues
    run = claim_run(trial, trials, target)
    trial.study.sampler = SAMPLERS[bench.study.search.sampler](bench.seed(run))
    config = suggest_config(trial, bench)
    refuse_duplicate(trial, run, config.key, trials)
    checkpoint = bench.checkpoint(run, config.key)
    training = checkpoint.resume(partial(bench.training, config, run))
    params = count_parameters(training.network)
    assert params <= bench.study.max_params, f"solve_width let {params} through"
    if held.facts.student is None:
        trial.set_constraint("params", params - bench.study.max_params)
        keep(trial, student=_facts(bench, config, run, params))

    done, epochs = list(training.results), config.training.epochs
    # Of the epochs that are done only the last one's question may be open.
    asked = range(max(warmup_epochs(epochs), len(done) - 1), epochs - 1)
    try:
        spared = _settle_audit(trial, held, bench.record, run, done) or held.facts.baseline
        stopping = Stopping(trial, bench.pruner, asked, spared, is_audited(bench, run))
        for result in chain(done, bench.timed(training)):
            bench.record.epoch(run, result, trial._trial_id)
            checkpoint.save(training)
            if stopping(result):
                trial.report(stopping.curve[-1], result.epoch)  # TPE ranks the trials that were stopped by it
                raise TrialPruned(f"epoch {result.epoch}, accuracy {result.val_accuracy:.3f}")
        keep(trial, val_loss=training.last.val_loss)
        keep_weights(trial, bench.record, run, training, trials)
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
    return training.last.val_accuracy


def _facts(bench: Bench, config: TrialConfig, run: Run, params: int) -> StudentFacts:
    return StudentFacts(
        config=config.model_dump(mode="json"),
        parameters=params,
        macs=macs_of(config.student, bench.image_size),
        seed=bench.seed(run),
        **provenance(bench),
    )


def _settle_audit(
    trial: Trial, held: StudyTrial, record: StudyRecord, run: Run, results: list[EpochResult]
) -> bool:
    """Whether the trial has been audited in one of these epochs; all other epochs go, with their audit.

    A training that began anew, or from an older checkpoint, is judged by its own epochs alone; so are
    others by it. On the same device its numbers are the same again.
    """
    recorded, audit = record.epochs(run), held.facts.audited
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
    where it would stop, and runs on without further questions.
    """

    def __init__(self, trial: Trial, pruner: Pruner, asked: range, spared: bool, is_audited: bool) -> None:
        self.trial, self.pruner, self.asked = trial, pruner, asked
        self.spared, self.is_audited = spared, is_audited
        self.curve: list[float] = []

    def __call__(self, result: EpochResult) -> bool:
        """Whether the trial should stop after this epoch."""
        diverged = not math.isfinite(result.train_loss + result.val_loss)
        self.curve.append(math.nan if diverged else result.val_accuracy)
        if diverged:
            keep(self.trial, mark=End.DIVERGED)
            return True
        weak = not self.spared and result.epoch in self.asked and self.pruner(self.curve)
        if weak and self.is_audited:
            keep(self.trial, audited=audited(Trials.of(self.trial.study), result.epoch))
            self.spared = True
        return weak and not self.spared
