import pytest

from kdsearch.mirror.runs import StudyRow, TrialRow
from kdsearch.store.runs import SEARCH, Run
from tests.servers import mlflow_server


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory):
    with mlflow_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def study():
    return StudyRow(
        name="digits",
        file_text="[budget]\nmax_params = 60_000\n",
        losses={"kl": ("kl.temperature",)},
        target=100,
        data={"name": "digits", "fingerprint": "f" * 64, "train": 1149, "validation": 288, "classes": 10},
        teachers={"teacher": {"model": "resnet18", "accuracy": 0.97}},
        seed=7,
    )


@pytest.fixture
def trial():
    def make(number, state="RUNNING", **values):
        params = {"student.family": "plain", "distillation.loss": "kl", "distillation.alpha": 0.5}
        run = Run(SEARCH, values.pop("slot", number), values.pop("attempt", 0))
        facts = {"run": run, "params": {**params, "kl.temperature": 4.0}}
        facts |= {"parameters": 50_283, "macs": 1_000_000, "started": 1_700_000_000.0}
        if state != "RUNNING":
            facts["finished"] = 1_700_000_100.0
        if state == "COMPLETE":
            facts |= {"value": 0.9, "val_loss": 0.2}
        return TrialRow(number=number, state=state, **(facts | values))

    return make


STORES = ["local", pytest.param("server", marks=pytest.mark.mlflow)]


@pytest.fixture(scope="session")
def local_uri(tmp_path_factory):
    """One store for all tests, since making it takes a second; each test has an experiment of its own."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(params=STORES)
def uri(request):
    return (
        request.getfixturevalue("mlflow").uri
        if request.param == "server"
        else request.getfixturevalue("local_uri")
    )
