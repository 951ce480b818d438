"""One trial, from its slot to its accuracy."""

import math
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from functools import partial
from itertools import chain

from optuna import TrialPruned
from optuna.trial import FrozenTrial, Trial

from kdsearch.engine.training import InterruptedTrainingError
from kdsearch.epoch import EpochResult
from kdsearch.errors import CacheClearedError, CacheDamagedError, StorageError, StudyDeletedError
from kdsearch.models.count import count_parameters, macs_of
from kdsearch.prepare.bench import Bench
from kdsearch.search.provenance import provenance
from kdsearch.search.samplers import make_sampler, warmup_epochs
from kdsearch.search.suggest import suggest_config
from kdsearch.search.weights import keep_weights
from kdsearch.store.audit import AUDITED, audit_mark
from kdsearch.store.duplicates import refuse_duplicate
from kdsearch.store.runs import Slot
from kdsearch.store.slots import MARK, claim_slot
from kdsearch.study.trial_config import TrialConfig
from kdsearch.views.batches import derived_seed


def run_trial(trial: Trial, bench: Bench, target: int) -> float:
    """Train the student that `trial` asks for; returns its validation accuracy at the last epoch, 0 to 1.

    Raises TrialPruned; SurplusTrialError or DuplicateTrialError before any training; InterruptedTrainingError
    after the state has been saved, or could not be.
    """
    trials = trial.study.get_trials(deepcopy=False)
    held = trials[trial.number]  # with all that it inherited from the trial that it continues
    slot = claim_slot(trial, trials, target)
    trial.study.sampler = make_sampler(bench.study.search.sampler, bench.seed(slot))
    config = suggest_config(trial, bench)
    refuse_duplicate(trial, slot, config.key)
    checkpoint = bench.checkpoint(slot, config.key)
    training = checkpoint.resume(partial(bench.training, config, slot))
    params = count_parameters(training.network)
    assert params <= bench.study.max_params, f"solve_width let {params} through"
    if "student" not in held.user_attrs:
        trial.set_constraint("params", params - bench.study.max_params)
        trial.set_user_attr("student", _facts(bench, config, slot, params))

    asked = range(warmup_epochs(config.training.epochs), config.training.epochs - 1)
    try:
        if held.intermediate_values:
            held = _continued(trial, held, bench, slot, training.results)
        stopping = Stopping(trial, held, asked, is_audited(bench, slot))
        for result in chain(tuple(training.results), bench.timed(training)):
            bench.record.epoch(*slot, result)
            checkpoint.save(training)
            if stopping(result):
                raise TrialPruned(f"epoch {result.epoch}, accuracy {result.val_accuracy:.3f}")
        trial.set_user_attr("val_loss", training.last.val_loss)
        keep_weights(trial, bench.record, slot, training)
    except (InterruptedTrainingError, StorageError, CacheClearedError, CacheDamagedError):
        checkpoint.save(training, now=True)
        raise
    except StudyDeletedError:
        with suppress(OSError):
            checkpoint.path.unlink(missing_ok=True)
        raise
    return training.last.val_accuracy


def _facts(bench: Bench, config: TrialConfig, slot: Slot, params: int) -> dict[str, object]:
    macs = macs_of(config.student, bench.image_size)
    facts = {"config": config.model_dump(mode="json"), "parameters": params, "macs": macs}
    return {**facts, "seed": bench.seed(slot), **provenance(bench)}


def _continued(
    trial: Trial, held: FrozenTrial, bench: Bench, slot: Slot, results: Sequence[EpochResult]
) -> FrozenTrial:
    """`held` where it is the curve of `results`; else as before its first epoch, and so is the storage.

    A training that began anew, or from an older checkpoint, is judged by its own epochs alone; so are
    others by it. On the same device its numbers are the same again.
    """
    if bench.record.epochs(*slot) != results:
        bench.record.replace_epochs(*slot, results)
    own = {result.epoch: result.val_accuracy for result in results}
    if held.intermediate_values.items() <= own.items():
        return held
    backend = trial.storage._backend  # type: ignore[attr-defined]  # below Optuna's cache
    backend.forget_curve(trial._trial_id, AUDITED)
    held = copy(held)
    held.user_attrs = {name: value for name, value in held.user_attrs.items() if name != AUDITED}
    held.intermediate_values = {}
    trial._cached_frozen_trial = trial.storage.get_trial(trial._trial_id)  # else reports are ignored
    return held


def is_audited(bench: Bench, slot: Slot) -> bool:
    """Whether the slot's trial runs on where it would be stopped; the slot and the study's seed decide."""
    return derived_seed(bench.study.seed, "audit", *slot) < bench.study.search.audit * 2**63


class Stopping:
    """Reports a trial's epochs to Optuna, and says whether it should stop: diverged, or weak.

    Baselines run to their end. The pruner is asked about the epochs `asked`, but not those whose question
    was answered before the trial lost its worker. An audited trial is marked where it would stop,
    and runs on without further questions.
    """

    def __init__(self, trial: Trial, held: FrozenTrial, asked: range, audited: bool) -> None:
        self.trial, self.held, self.asked, self.audited = trial, held, asked, audited
        self.spared = bool(held.user_attrs.get("baseline")) or AUDITED in held.user_attrs

    def __call__(self, result: EpochResult) -> bool:
        """Whether the trial should stop after this epoch."""
        diverged = not math.isfinite(result.train_loss + result.val_loss)
        if result.epoch not in self.held.intermediate_values:
            self.trial.report(math.nan if diverged else result.val_accuracy, result.epoch)
        if diverged:
            self.trial.set_user_attr(MARK, "diverged")
            return True
        weak = self._is_asked(result.epoch) and self.trial.should_prune()
        if weak and self.audited:
            self.trial.set_user_attr(AUDITED, audit_mark(self.trial.study, result.epoch))
            self.spared = True
        return weak and not self.spared

    def _is_asked(self, epoch: int) -> bool:
        answered = epoch < max(self.held.intermediate_values, default=0)
        return not self.spared and not answered and epoch in self.asked
