"""Predictions are those of the trained student, in a memory that does not grow with the files."""

import shutil
from statistics import fmean

import numpy as np
import pytest
import torch
from PIL import Image

from kdsearch import api
from kdsearch.data.image_set import SearchSets
from kdsearch.deliver.columns import written_at_once
from kdsearch.deliver.described import read_config
from kdsearch.deliver.onnx_runtime import open_onnx
from kdsearch.deliver.predict import BATCH, Student, natural, predictions
from kdsearch.deliver.winner import find_winner
from kdsearch.engine.evaluate import answer_all, named_right_mirrored
from kdsearch.errors import KdsearchError
from kdsearch.models.student import student_outputs
from kdsearch.progress import Silence
from kdsearch.store.record import StudyRecord


@pytest.fixture
def winner(create, worker, url, tmp_path):
    """The student of a small study, whose export is the folder `best`."""
    study = create(1)
    worker().work()
    api.export_best(study.study_name, storage=url, out=tmp_path / "best", test=False)
    return find_winner(study, StudyRecord(url, study.study_name))


def test_validation_images_are_classified_as_the_study_recorded(winner, data, tmp_path):
    images, labels = SearchSets.open(data).validation.images, SearchSets.open(data).validation.labels
    (tmp_path / "images").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image[0].numpy()).save(tmp_path / "images" / f"{number}.png")

    def predicted(**options):
        out = tmp_path / "out.csv"
        api.predict(tmp_path / "best", tmp_path / "images", out, force=True, probabilities=True, **options)
        table = torch.from_numpy(np.loadtxt(out, delimiter=",", skiprows=1))
        assert table[:, 0].tolist() == list(range(len(images)))
        return table[:, 1], table[:, 2:]

    logits = answer_all(winner.student(), student_outputs, images)
    for runtime in ("onnx", "torch"):
        found, shares = predicted(runtime=runtime)
        assert found.tolist() == logits.argmax(1).tolist()
        torch.testing.assert_close(shares.float(), logits.softmax(1), rtol=0, atol=2e-6)
        assert (found == labels).float().mean().item() == pytest.approx(winner.accuracy)
    found, _ = predicted(mirrored=True)
    mirrored = fmean(named_right_mirrored(winner.student(), student_outputs, images, labels))
    assert (found == labels).float().mean().item() == pytest.approx(mirrored)


def test_no_file_is_read_before_its_batch_is_asked_for(colours, paint):
    files = [paint("0.png", (255, 0, 0))]
    for number in range(1, 2 * BATCH + 5):
        files.append(files[0].with_name(f"{number}.png"))
        shutil.copy(files[0], files[-1])
    most = 0

    def answer(images):
        nonlocal most
        most = max(most, len(images))
        return open_onnx(colours / "student.onnx")(images)

    asked = predictions(Student(read_config(colours), answer), files, Silence())
    found = [next(asked)]
    for file in files[BATCH:]:
        file.write_bytes(b"no image any more")
    found += asked
    assert [each.file for each in found] == files
    assert [each.shares is not None for each in found] == [True] * BATCH + [False] * (BATCH + 5)
    assert most == BATCH


def test_numbers_are_ordered_by_their_value_in_each_folder(tmp_path):
    ordered = ["1.png", "2.png", "2a.png", "10.png", "a1/1.png", "a2/1.png", "a2.png", "a10.png", "b.png"]
    paths = [tmp_path / name for name in ordered]
    assert sorted({*paths}, key=natural) == paths


def test_a_table_that_cannot_be_finished_leaves_nothing_behind(tmp_path):
    (tmp_path / "out.csv").write_text("mine")
    with pytest.raises(KeyboardInterrupt), written_at_once(tmp_path / "out.csv") as stream:
        stream.write("Id")
        raise KeyboardInterrupt
    full = "No space left on device"
    with pytest.raises(KdsearchError, match=full), written_at_once(tmp_path / "out.csv"):
        raise OSError(28, full)
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "mine"
