"""Where the best model lies, as lines that load it."""

import pytest

from kdsearch.mirror.uri import how_to_load, keep_model
from kdsearch.store.trials import Trials

LINES = ('model = mlflow.pyfunc.load_model("models:/m-1")', "model.predict(images)")


@pytest.fixture
def study(create, worker, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = create(2)
    worker().work()
    return found


def test_only_the_best_trials_model_is_offered(study):
    assert how_to_load(study) == ()
    best, other = (trial.number for trial in Trials.of(study).ranked)
    keep_model(study, best, "sqlite:///mlflow.db", "models:/m-1")
    assert how_to_load(study) == LINES
    keep_model(study, other, "sqlite:///mlflow.db", "models:/m-1")
    assert how_to_load(study) == ()


def test_the_server_is_named_without_its_password(study):
    keep_model(
        study, Trials.of(study).ranked[0].number, "https://me:secret@mlflow.example:5000", "models:/m-1"
    )
    assert how_to_load(study) == ('mlflow.set_tracking_uri("https://me:***@mlflow.example:5000")', *LINES)
    assert "secret" not in str(study.user_attrs)


def test_mlflows_own_choice_is_not_named(study, tmp_path, monkeypatch):
    keep_model(study, Trials.of(study).ranked[0].number, "sqlite:///mlflow.db", "models:/m-1")
    named = (f'mlflow.set_tracking_uri("sqlite:///{tmp_path}/mlflow.db")', *LINES)
    (tmp_path / "elsewhere").mkdir()
    with monkeypatch.context() as elsewhere:
        elsewhere.chdir(tmp_path / "elsewhere")
        assert how_to_load(study) == named
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
        assert how_to_load(study) == named
        keep_model(study, Trials.of(study).ranked[0].number, "http://127.0.0.1:5000", "models:/m-1")
        assert how_to_load(study) == LINES
    keep_model(study, Trials.of(study).ranked[0].number, "sqlite:///mlflow.db", "models:/m-1")
    old_store = tmp_path / "mlruns" / "0"  # MLflow's client would look there
    old_store.mkdir(parents=True)
    (old_store / "meta.yaml").touch()
    assert how_to_load(study) == named
