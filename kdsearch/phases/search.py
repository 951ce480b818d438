"""One trial, from its slot to its accuracy."""

import math
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from functools import partial
from itertools import chain

from optuna import TrialPruned
from optuna.trial import Trial

from kdsearch.engine.training import InterruptedTrainingError
from kdsearch.epoch import EpochResult
from kdsearch.errors import CacheClearedError, CacheDamagedError, StorageError, StudyDeletedError
from kdsearch.models.count import count_parameters, macs_of
from kdsearch.phases.bench import Bench
from kdsearch.phases.provenance import provenance
from kdsearch.phases.samplers import make_sampler, warmup_epochs
from kdsearch.phases.suggest import suggest_config
from kdsearch.phases.weights import keep_weights
from kdsearch.store.audit import audited
from kdsearch.store.duplicates import refuse_duplicate
from kdsearch.store.facts import End, StudentFacts, keep
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
    trial.study.sampler = make_sampler(bench.study.search.sampler, bench.seed(run))
    config = suggest_config(trial, bench)
    refuse_duplicate(trial, run, config.key, trials)
    checkpoint = bench.checkpoint(run, config.key)
    training = checkpoint.resume(partial(bench.training, config, run))
    params = count_parameters(training.network)
    assert params <= bench.study.max_params, f"solve_width let {params} through"
    if held.facts.student is None:
        trial.set_constraint("params", params - bench.study.max_params)
        keep(trial, student=_facts(bench, config, run, params))

    asked = range(warmup_epochs(config.training.epochs), config.training.epochs - 1)
    try:
        if held.frozen.intermediate_values:
            held = _continued(trial, held, bench, run, training.results)
        stopping = Stopping(trial, held, asked, is_audited(bench, run))
        for result in chain(tuple(training.results), bench.timed(training)):
            bench.record.epoch(run, result)
            checkpoint.save(training)
            if stopping(result):
                raise TrialPruned(f"epoch {result.epoch}, accuracy {result.val_accuracy:.3f}")
        keep(trial, val_loss=training.last.val_loss)
        keep_weights(trial, bench.record, run, training, trials)
    except (InterruptedTrainingError, StorageError, CacheClearedError, CacheDamagedError):
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


def _continued(
    trial: Trial, held: StudyTrial, bench: Bench, run: Run, results: Sequence[EpochResult]
) -> StudyTrial:
    """`held` where it is the curve of `results`; else as before its first epoch, and so is the storage.

    A training that began anew, or from an older checkpoint, is judged by its own epochs alone; so are
    others by it. On the same device its numbers are the same again.
    """
    if bench.record.epochs(run) != results:
        bench.record.replace_epochs(run, results)
    own = {result.epoch: result.val_accuracy for result in results}
    if held.frozen.intermediate_values.items() <= own.items():
        return held
    backend = trial.storage._backend  # type: ignore[attr-defined]  # below Optuna's cache
    backend.forget_curve(trial._trial_id)
    frozen = copy(held.frozen)
    frozen.intermediate_values = {}
    trial._cached_frozen_trial = trial.storage.get_trial(trial._trial_id)  # else reports are ignored
    return StudyTrial(frozen, held.facts.model_copy(update={"audited": None}))


def is_audited(bench: Bench, run: Run) -> bool:
    """Whether a run's trial trains on after the pruner would stop it; the run and the study's seed decide."""
    return derived_seed(bench.study.seed, "audit", run.place, run.attempt) < bench.study.search.audit * 2**63


class Stopping:
    """Reports a trial's epochs to Optuna, and says whether it should stop: diverged, or weak.

    Baselines train to their end. This asks the pruner after the epochs `asked`, except those after which a
    lost worker of the same trial has asked it. An audited trial keeps the epoch at which it would stop, and
    trains on without further questions.
    """

    def __init__(self, trial: Trial, held: StudyTrial, asked: range, is_audited: bool) -> None:
        self.trial, self.asked, self.is_audited = trial, asked, is_audited
        self.reported = held.frozen.intermediate_values
        self.spared = held.facts.baseline or held.facts.audited is not None

    def __call__(self, result: EpochResult) -> bool:
        """Whether the trial should stop after this epoch."""
        diverged = not math.isfinite(result.train_loss + result.val_loss)
        if result.epoch not in self.reported:
            self.trial.report(math.nan if diverged else result.val_accuracy, result.epoch)
        if diverged:
            keep(self.trial, mark=End.DIVERGED)
            return True
        weak = self._is_asked(result.epoch) and self.trial.should_prune()
        if weak and self.is_audited:
            keep(self.trial, audited=audited(Trials.of(self.trial.study), result.epoch))
            self.spared = True
        return weak and not self.spared

    def _is_asked(self, epoch: int) -> bool:
        answered = epoch < max(self.reported, default=0)
        return not self.spared and not answered and epoch in self.asked
