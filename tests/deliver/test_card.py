"""The model card."""

import re
import subprocess
import sys

import pytest

from kdsearch.deliver.card import model_card
from kdsearch.deliver.forms import FORMS


@pytest.mark.parametrize("trained", ["dwsep"], indirect=True, scope="session")
def test_its_code_runs_in_the_folder_of_the_export(exported):
    snippets = re.findall(r"```python\n(.*?)```", (exported.folder / "README.md").read_text(), re.DOTALL)
    assert len(snippets) == 3
    for snippet in snippets:
        command = [sys.executable, "-B", "-W", "error", "-c", snippet]
        done = subprocess.run(command, cwd=exported.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(r"(tensor\()?\[(\d,? ?){4}\]\)?\n", done.stdout)


def test_it_tells_the_accuracies_the_size_and_the_origin(trained):
    card = model_card(trained.facts, FORMS)
    assert "| validation | 288 | 97.50 % |" in card
    assert "| test | 360 | 98.50 % |" in card
    assert "resnet18, 99.00 % on the validation images" in card
    assert f"{trained.facts.parameters:,} parameters" in card
    assert f"{trained.facts.macs:,} multiply-adds" in card
    assert "| trial | 7 |" in card
    assert f"`{trained.facts.data.fingerprint}`" in card
    assert "| `learning_rate` | 0.01 |" in card


def test_test_images_that_were_not_read_and_a_missing_teacher_are_said(trained):
    card = model_card(trained.facts.model_copy(update={"test": None, "teachers": {}}), FORMS)
    assert "| test | | not read |" in card
    assert "| teacher | none |" in card
    assert "chose nothing" not in card


def test_an_average_of_teachers_is_called_so(trained):
    teachers = {"a (resnet18)": 0.99, "b (vgg11_bn)": 0.985}
    card = model_card(trained.facts.model_copy(update={"teachers": teachers}), FORMS)
    assert "the average of a (resnet18), 99.00 % on the validation images and b (vgg11_bn), 98.50 %" in card
    assert "| validation, the teacher b (vgg11_bn) | 288 | 98.50 % |" in card


def test_notes_stand_in_the_first_section(trained):
    note = "The search was still running."
    card = model_card(trained.facts.model_copy(update={"notes": (note,)}), FORMS)
    assert note in card.partition("## Accuracy")[0]


def test_class_names_cannot_change_the_table_and_mistakes_are_named(trained):
    data = trained.facts.data.model_copy(update={"classes": ("a|b", "<b>", *"23456789")})
    card = model_card(trained.facts.model_copy(update={"data": data}), FORMS)
    assert r"| a\|b | 30 | 70.0 % | 100.0 % |" in card
    assert "<b>" not in card
    assert r"The most frequent mistakes: a\|b as " in card
