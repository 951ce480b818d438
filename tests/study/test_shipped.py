import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from kdsearch.errors import UsageError
from kdsearch.models.measure import parameters_of
from kdsearch.study.budget import check_budget
from kdsearch.study.file import load_study
from kdsearch.study.shipped import shipped, shipped_studies

NAMES = {"digits", "fashion-mnist", "cifar10", "food11", "wide"}
SAMPLED = 17  # parameters that 100 trials can search


def test_the_studies_of_the_readme_are_shipped():
    assert set(shipped()) >= NAMES
    assert list(shipped()) == sorted(shipped())


@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_shipped_study_loads_and_says_what_it_is(name):
    study = load_study(name, {})
    assert study.name == name
    assert {each.name: each.description for each in shipped_studies()}[name] == study.tables["description"]


def test_a_recipe_says_what_it_reproduces_and_how_well_that_went():
    recipes = {each.name: each for each in shipped_studies() if each.recipe}
    assert recipes.keys() == {name for name in shipped() if name.startswith("s")}
    assert all(each.result for each in recipes.values())
    assert [each.name for each in shipped_studies()][: len(NAMES)] == sorted(NAMES)


@pytest.mark.parametrize(
    ("recipe", "classes", "parameters"),
    [
        ("s0-first", 11, 56_235),
        ("s0-second", 11, 50_283),
        ("s2", 11, 256_779),
        ("s3-alone", 11, 256_779),
        ("s3-scratch", 11, 256_779),
        ("s3-pretrained", 11, 256_779),
        ("s3-vgg16-depthwise", 11, 63_133_483),
        ("s3-vgg11-bn", 11, 61_662_987),
        ("s4", 10, 98_954),
    ],
)
def test_a_recipe_of_one_network_builds_it_to_the_parameter(recipe, classes, parameters):
    study = load_study(recipe, {})
    assert check_budget(study, classes, study.data.image_size or 28) == []
    network = study.student.make({}).published(classes)
    assert parameters_of(network) == parameters <= study.max_params
    assert study.parameters() == {}  # nothing is searched


@pytest.mark.parametrize("name", sorted(NAMES - {"wide"}))
def test_no_shipped_study_samples_more_than_seventeen_parameters(name):
    assert len(load_study(name, {}).parameters()) <= SAMPLED


@pytest.mark.parametrize(
    ("name", "classes", "image_size"),
    [
        ("digits", 10, 8),
        ("fashion-mnist", 10, 28),
        ("cifar10", 10, 32),
        ("wide", 10, 28),
        ("food11", 11, 64),
        ("food11", 101, 64),
        ("s1-strong", 11, 128),
        ("s1-boss-fitnet", 11, 128),
        ("s1-boss-rkd", 11, 128),
        ("s1-boss-dm", 11, 128),
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
    crops = study.augmentation
    assert (crops.crop, crops.scale, crops.flip) == ("resized", 0.35, True)


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
