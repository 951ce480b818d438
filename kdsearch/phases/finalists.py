"""The best few of the search, trained again with several seeds."""

import math
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any

import optuna
from optuna.trial import Trial

from kdsearch.engine.evaluate import named_right
from kdsearch.engine.training import Training
from kdsearch.models.measure import count_parameters
from kdsearch.models.weights import to_bytes
from kdsearch.phases.bench import Bench
from kdsearch.phases.search import saved, student_facts
from kdsearch.store.facts import End, keep, parent_of, study_facts
from kdsearch.store.finalists import candidates, keep_candidates, pack
from kdsearch.store.queue import claim_run
from kdsearch.store.runs import FINALISTS, Run
from kdsearch.store.studies import load_study
from kdsearch.store.trials import Trials
from kdsearch.study.trial_config import TrialConfig


class Finalists:
    """The candidates that the study keeps, each once; none is pruned."""

    name = FINALISTS

    def target(self, search: optuna.Study) -> int:
        return len(candidates(study_facts(search), Trials.of(search)))

    def recipes(self, bench: Bench) -> Sequence[dict[str, Any]]:
        return ()

    def train(self, trial: Trial, bench: Bench, target: int, before: Trials) -> float:
        run = claim_run(trial, Trials.of(trial.study, before), target)
        search = load_study(trial.study._storage, str(parent_of(trial.study)))
        searched = Trials.of(search)
        candidate = keep_candidates(search, searched)[run.place]
        student = searched[candidate.trial].facts.student
        assert student is not None, "only a complete trial is a candidate"
        config = stretched(TrialConfig.model_validate(student.config), candidate.epochs)
        checkpoint = bench.checkpoint(run, config.key)
        training = checkpoint.resume(partial(bench.training, config, run))
        params = count_parameters(training.network)
        facts = student_facts(bench, student.active, config, run, params)
        keep(trial, candidate=candidate, student=facts)
        with saved(checkpoint, training):
            done = list(training.results)
            if bench.record.epochs(run) != done:  # it began anew, or from an older checkpoint
                bench.record.replace_epochs(run, done)
            for result in chain(done, bench.timed(training)):
                bench.record.epoch(run, result, trial._trial_id)
                checkpoint.save(training)
                if not math.isfinite(result.train_loss + result.val_loss):
                    keep(trial, mark=End.DIVERGED)  # its accuracy counts: it may happen again
                    break
            keep(trial, val_loss=training.last.val_loss)
            _keep_files(bench, run, training)
        return training.last.val_accuracy


def stretched(config: TrialConfig, epochs: int) -> TrialConfig:
    """The config with so many epochs; its schedules stretch with them, the last epochs of a finish too."""
    training = config.training
    finish = round(training.finish_epochs * epochs / training.epochs)
    update = {"epochs": epochs, "finish_epochs": min(finish, epochs - 1)}
    return config.model_copy(update={"training": training.model_copy(update=update)})


def _keep_files(bench: Bench, run: Run, training: Training) -> None:
    """Stores the weights, and which validation images they name right, before Optuna has the result."""
    images, labels = bench.validation
    right = named_right(training.final, training.answer, images, labels)
    bench.record.put_file(run.correct, pack(right), replace=True)
    bench.record.put_file(run.weights, to_bytes(training.final.state_dict()), replace=True)
