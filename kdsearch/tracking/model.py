"""The best trial's model in MLflow.

Only for a child process of its own: it imports torch through MLflow, and uses MLflow's process-wide settings
since `mlflow.pytorch` offers nothing else.
"""

from typing import Any, NamedTuple

import mlflow
import mlflow.pytorch
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from kdsearch.tracking.reaching import reaching
from kdsearch.tracking.store import open_client

MODEL_NAME = "student"


class Sizes(NamedTuple):
    """Of a student's input and output: images 3 x `image_size` x `image_size`, logits `classes`."""

    image_size: int
    classes: int


def log_best_model(uri: str, run_id: str, student: Any, sizes: Sizes, requirements: list[str]) -> str:
    """Logs `student`, a `torch.nn.Module` on the CPU, with the run `run_id`; returns the model's URI.

    `mlflow.pyfunc.load_model` of that URI takes float32 B x 3 x H x W in 0..1 for any B and answers with
    logits B x C. `student` is put into evaluation mode, since what is traced keeps its mode for ever.
    `requirements` are the packages that it needs, as pip writes them. A run that has a model already keeps
    that one. Raises MirrorUnavailableError.
    """
    with reaching(uri):
        open_client(uri)
        mlflow.set_tracking_uri(uri)
        run = mlflow.get_run(run_id)
        if run.outputs and run.outputs.model_outputs:
            return f"models:/{run.outputs.model_outputs[0].model_id}"
        mlflow.set_experiment(experiment_id=run.info.experiment_id)  # else the model lands in "Default"
        return _logged(run_id, student, sizes, requirements)


def _logged(run_id: str, student: Any, sizes: Sizes, requirements: list[str]) -> str:
    image = 3, sizes.image_size, sizes.image_size
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype(np.float32), (-1, *image))]),
        Schema([TensorSpec(np.dtype(np.float32), (-1, sizes.classes))]),
    )
    info = mlflow.pytorch.log_model(
        student.eval(),
        name=MODEL_NAME,
        run_id=run_id,
        signature=signature,
        # Two images, since one would fix the batch; black ones, since they are stored as JSON text.
        input_example=np.zeros((2, *image), np.float32),
        pip_requirements=requirements,
        serialization_format="pt2",
    )
    return str(info.model_uri)
