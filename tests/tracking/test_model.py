import subprocess
import sys

import pytest
from mlflow import MlflowClient

from kdsearch.tracking.mirror import Mirror

# A process of its own, as the search uses it: MLflow's settings for a whole process change here.
LOG = """
import sys
import torch
from torch import nn
from kdsearch.tracking.model import Sizes, log_best_model

uri, run_id = sys.argv[1:]
torch.manual_seed(0)
student = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(144, 5))
sizes = Sizes(image_size=8, classes=5)
model = log_best_model(uri, run_id, student, sizes, ["torch"])
assert log_best_model(uri, run_id, student, sizes, ["torch"]) == model
print(model)

import mlflow
loaded = mlflow.pyfunc.load_model(model)
for many in (1, 5):
    images = torch.rand(many, 3, 8, 8)
    answer = torch.from_numpy(loaded.predict(images.numpy()))
    torch.testing.assert_close(answer, student.eval()(images).detach())
"""


@pytest.mark.slow
@pytest.mark.mlflow
def test_the_best_model_is_logged_once_and_loads_by_pyfunc(mlflow, study, record, trial, epoch):
    record.epoch(0, 0, epoch(1))
    study = study.model_copy(update={"name": "best-model"})
    mirror = Mirror(mlflow.uri, study, record)
    mirror.tick([trial(0, "COMPLETE")])
    run_id = mirror.awaits_model(0, 0)
    done = subprocess.run(
        [sys.executable, "-c", LOG, mlflow.uri, run_id], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    later = Mirror(mlflow.uri, study, record)
    later.tick([trial(0, "COMPLETE")])
    assert later.awaits_model(0, 0) is None
    client = MlflowClient(mlflow.uri)
    run = client.get_run(run_id)
    (model,) = run.outputs.model_outputs
    assert done.stdout.strip() == f"models:/{model.model_id}"
    assert client.get_logged_model(model.model_id).experiment_id == run.info.experiment_id
