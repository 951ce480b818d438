"""What the process of `kdsearch train` loads and holds while its children do the work."""

import json
import subprocess
import sys

RECIPE = """
[data]
train_images = 100
[views]
count = 1
[teacher]
model = "mobilenet_v3_small"
epochs = 1
[published]
recipe = "a net on digits"
result = "none stated"
[budget]
max_params = 3000
[student]
stages = 1
[training]
epochs = 1
batch_size = 20
[distillation]
loss = "kl"
"""

TRAIN = """
import json
import sys

import psutil

from kdsearch import api
from kdsearch.progress import Silence


class Scales(Silence):
    tasks, heavy = [], set()

    def weigh(self, task):
        self.tasks.append(task)
        self.heavy |= {"torch", "torchvision", "onnx", "onnxruntime"} & sys.modules.keys()

    def say(self, text):
        self.weigh("said")

    def step(self, task, done, total, note=""):
        self.weigh(task)

    def standing(self, standing):
        # A worker is at work: what is loaded is never let go again, so this is the most.
        self.weigh("trials")
        most = psutil.Process().memory_info().rss / 2**20
        print(json.dumps([sorted(self.heavy), most, self.tasks]))
        sys.exit()


if __name__ == "__main__":
    values = {"run.workers": "1", "run.tracking_uri": "http://127.0.0.1:9"}
    api.train("mine.toml", values=values, watch=Scales())
"""


def test_the_supervisor_of_train_holds_no_tensors(tmp_path):
    (tmp_path / "mine.toml").write_text(RECIPE)
    (tmp_path / "train.py").write_text(TRAIN)
    done = subprocess.run(
        [sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    heavy, mebibytes, tasks = json.loads(done.stdout)
    assert {"said", "teacher", "trials"} <= set(tasks)
    assert heavy == []
    assert mebibytes < 300
