import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from kdsearch.errors import UsageError
from kdsearch.study.budget import check_budget
from kdsearch.study.distillation import loss_names
from kdsearch.study.file import load_study
from kdsearch.study.shipped import descriptions, shipped

NAMES = {"digits", "fashion-mnist", "cifar10", "food11"}
ACTIVE = 12  # parameters that 100 trials can search


def test_the_studies_of_the_readme_are_shipped():
    assert set(shipped()) >= NAMES
    assert list(shipped()) == sorted(shipped())


@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_shipped_study_loads_and_says_what_it_is(name):
    study = load_study(name, {})
    assert study.name == name
    assert study.max_params == 60_000
    assert descriptions()[name]


@pytest.mark.parametrize("name", sorted(NAMES))
def test_no_trial_of_a_shipped_study_draws_more_than_twelve_parameters(name):
    study = load_study(name, {})
    stages = {"stages": max(study.student.possible("stages"))}
    student = [field for field in study.student.searched if study.student.record.is_active(field, stages)]
    family = max(len(space.searched) for space in study.families.values())
    losses = max(
        sum(len(study.losses[part].searched) for part in loss_names(loss))
        for loss in study.distillation.possible("loss")
    )
    others = len(study.training.searched) + len(study.distillation.searched)
    assert len(student) + family + losses + others <= ACTIVE


@pytest.mark.parametrize(
    ("name", "classes", "image_size"),
    [
        ("digits", 10, 8),
        ("fashion-mnist", 10, 28),
        ("cifar10", 10, 32),
        ("wide", 10, 28),
        ("food11", 11, 64),
        ("food11", 101, 64),
    ],
)
def test_every_student_of_a_shipped_study_fits_its_budget(name, classes, image_size):
    study = load_study(name, {})
    check_budget(study, classes, image_size)
    with pytest.raises(UsageError, match=r"raise budget\.max_params"):
        check_budget(load_study(name, {"budget.max_params": 1_000}), classes, image_size)


def test_food11_reads_photos_as_its_task_does():
    study = load_study("food11", {})
    assert (study.data.name, study.data.image_size) == ("folder", 64)
    assert (study.augmentation.crop, study.augmentation.rotation, study.augmentation.flip) == (
        "resized",
        30,
        True,
    )


def test_they_are_data_of_the_package():
    assert files("kdsearch.studies").joinpath("digits.toml").is_file()


def test_a_user_s_own_studies_folder_does_not_hide_them(tmp_path):
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "__init__.py").touch()
    (tmp_path / "studies" / "own.toml").write_text("")
    script = "from kdsearch.study.shipped import shipped; print(*shipped())"
    environment = {**os.environ, "PYTHONPATH": ""}
    found = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(found.stdout.split()) == {
        path.stem for path in Path(str(files("kdsearch.studies"))).glob("*.toml")
    }
