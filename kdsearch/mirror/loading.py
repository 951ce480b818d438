"""The place of the best model in MLflow, which the study keeps, and the lines that load it."""

import optuna

from kdsearch.mirror.uri import is_default, whole
from kdsearch.store.facts import ModelPlace, keep, study_facts
from kdsearch.store.trials import Trials
from kdsearch.urls import masked


def keep_model(study: optuna.Study, trial: int, tracking_uri: str, model_uri: str) -> None:
    """Keeps that the model of trial number `trial` is in MLflow; of the address not its password."""
    tracking = masked(whole(tracking_uri))
    keep(study, model=ModelPlace(trial=trial, tracking_uri=tracking, uri=model_uri))


def how_to_load(study: optuna.Study) -> tuple[str, ...]:
    """Python that loads the best trial's model and asks it; nothing where MLflow is not known to have it."""
    kept, best = study_facts(study).model, Trials.of(study).best
    if not (kept and best and best.number == kept.trial):
        return ()
    lines = (f'model = mlflow.pyfunc.load_model("{kept.uri}")', "model.predict(images)")
    if is_default(kept.tracking_uri):
        return lines
    return (f'mlflow.set_tracking_uri("{kept.tracking_uri}")', *lines)
