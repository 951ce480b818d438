"""One student without a search: trained, shown, exported, trained again."""

import subprocess
import sys

import pytest

RECIPE = """
[data]
train_images = 200
image_size = 16
[views]
count = 1
[teacher]
model = "mobilenet_v3_small"
epochs = 1
[published]
recipe = "S4 on digits"
result = "none stated"
[budget]
max_params = 98_954
[student]
network = ["s4", "s0-first"]
[training]
epochs = 2
finish_epochs = 1
[distillation]
loss = "kl+fitnet"
"""


@pytest.fixture
def told(tmp_path):
    (tmp_path / "mine.toml").write_text(RECIPE)

    def of(*words):
        command = [sys.executable, "-m", "kdsearch", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    return of


def test_a_recipe_is_trained_once_shown_and_exported(told):
    out, progress = told("train", "mine.toml")
    assert "network s0-first needs at least 72 x 72 px, not 16 x 16: left out" in progress
    assert "teacher 1/1" in progress
    here, published = out.splitlines()[-2:]
    assert here.startswith("Here: validation ")
    assert here.endswith(", 98,954 parameters")
    assert published == "Published: none stated (S4 on digits)"

    again, progress = told("train", "mine.toml")
    assert again.splitlines()[-2:] == [here, published]
    assert "teacher" not in progress

    layers, _ = told("show", "0")
    assert "98,954" in layers
    assert "64 x 2 x 2" in layers
    views, _ = told("views")
    assert "1 of 1 views" in views
    assert "pixels equal" in views
    exported, _ = told("export-best", "mine-train")
    assert "98,954 parameters" in exported
