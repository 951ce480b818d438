"""What the functions about studies load, and when."""

import subprocess
import sys

TRAIN = """
import sys
from kdsearch import api
from kdsearch.progress import Silence

class Look(Silence):
    def say(self, text):
        sys.exit(" ".join({"torch", "torchvision", "onnx", "onnxruntime"} & sys.modules.keys()) or 0)

api.train("digits", watch=Look())
"""


def test_the_supervisor_of_train_holds_no_tensors(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", TRAIN], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
