"""`kdsearch predict` with an export whose answers are known."""

import csv
import io
import json
import math
import subprocess
import sys

import onnx
import pytest
from click.testing import CliRunner

from kdsearch.cli import main
from tests.colours import CONFIG, network

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def images(paint):
    """A folder of a green, a blue and a red image, in natural order; the blue one in a folder below."""
    paint("10.png", RED)
    paint("2.png", GREEN)
    return paint("9/3.png", BLUE).parents[1]


def predict(export, images, out, *options):
    return CliRunner().invoke(main, ["predict", *map(str, (export, images)), "--out", str(out), *options])


def rows(export, images, *options):
    """The table on standard output of a command that goes well."""
    done = predict(export, images, "-", *options)
    assert done.exit_code == 0, done.output
    return list(csv.reader(io.StringIO(done.stdout)))


def refused(*arguments):
    """The one line of a command that does nothing."""
    done = predict(*arguments)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def test_each_image_has_a_row_in_natural_order(colours, images, tmp_path):
    done = predict(colours, images, tmp_path / "new" / "out.csv")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "new" / "out.csv").read_bytes() == b"Id,Category\n2,1\n3,2\n10,0\n"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.csv"]
    assert done.stdout.splitlines() == [
        "Study colours, trial 3: images predicted: 3",
        f"  {tmp_path / 'new' / 'out.csv'}",
    ]


def test_standard_output_has_the_table_and_nothing_else(colours, images):
    assert rows(colours, images) == [["Id", "Category"], ["2", "1"], ["3", "2"], ["10", "0"]]
    assert rows(colours, images / "10.png") == [["Id", "Category"], ["10", "0"]]


@pytest.mark.parametrize(
    ("kind", "ids"),
    [("stem", ["2", "3", "10"]), ("number", ["0", "1", "2"]), ("path", ["2.png", "9/3.png", "10.png"])],
)
def test_an_id_is_the_stem_or_the_number_or_the_path(colours, images, kind, ids):
    assert [row[0] for row in rows(colours, images, "--id", kind)[1:]] == ids


def test_names_further_classes_and_probabilities_are_there_on_request(colours, paint):
    image = paint("a.png", (255, 0, 128))
    head, row = rows(colours, image, "--names", "--top", "2", "--probabilities")
    assert head == ["Id", "Category", "Category 2", "p(red)", "p(green)", "p(blue)"]
    assert row[:3] == ["a", "red", "blue"]
    powers = [math.exp(10 * value / 255) for value in (255, 0, 128)]
    assert [float(share) for share in row[3:]] == pytest.approx(
        [power / sum(powers) for power in powers], abs=1e-6
    )


def test_two_views_are_averaged_and_said(colours, paint, tmp_path):
    image = paint("a.png", (90, 0, 0), (0, 0, 255))  # weakly red on the left, strongly blue on the right
    assert rows(colours, image)[1] == ["a", "0"]
    done = predict(colours, image, "-", "--views", "flip", "--probabilities")
    head, row = csv.reader(io.StringIO(done.stdout))
    assert head[2:] == ["mirrored p(red)", "mirrored p(green)", "mirrored p(blue)"]
    assert row[1] == "2"
    assert "with mirrored views" in done.stderr


def test_an_unreadable_file_has_a_row_and_stops_nothing(colours, images):
    (images / "1.png").write_bytes(b"no image")
    (images / "4.png").symlink_to("nowhere")
    done = predict(colours, images, "-", "--probabilities")
    assert done.exit_code == 1
    table = [row[:3] for row in csv.reader(io.StringIO(done.stdout))]
    assert [row[:2] for row in table[1:]] == [
        ["1", "unreadable"],
        ["2", "1"],
        ["4", "unreadable"],
        ["3", "2"],
        ["10", "0"],
    ]
    assert table[1][2] == ""
    assert "1.png: not a readable image" in done.stderr
    assert "4.png: a link that leads nowhere" in done.stderr
    assert "predicted: 3, unreadable: 2 (their rows say so)" in done.stderr


def test_what_is_no_image_is_left_out_and_said(colours, images):
    (images / "notes.txt").write_text("mine")
    done = predict(colours, images, "-")
    assert "left out: 1 file not named like an image (.txt 1)" in done.stderr
    assert done.exit_code == 0


def test_torch_is_not_loaded(colours, images):
    script = (
        "import sys\nfrom kdsearch.cli import main\n"
        "try:\n    main(sys.argv[1:])\nfinally:\n    print(sorted(sys.modules), file=sys.stderr)"
    )
    command = [sys.executable, "-c", script, "predict", str(colours), str(images), "--out", "-", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "Id,Category\n2,1\n3,2\n10,0\n"
    loaded = set(done.stderr.replace("'", "").replace("[", "").replace("]", "").split(", "))
    assert "onnxruntime" in loaded
    assert loaded & {"torch", "optuna", "mlflow", "sqlalchemy", "onnx", "sklearn"} == set()


def test_a_file_that_exists_is_replaced_only_with_force(colours, images, tmp_path):
    out = tmp_path / "out.csv"
    out.write_text("mine")
    assert "exists already; --force replaces it" in refused(colours, images, out)
    assert out.read_text() == "mine"
    assert predict(colours, images, out, "--force").exit_code == 0
    assert out.read_text().startswith("Id,Category\n")


def test_an_out_that_cannot_be_written_is_said_before_anything_is_read(colours, images, tmp_path):
    assert "is no ordinary file" in refused(colours, images, tmp_path, "--force")
    assert "is no ordinary file" in refused(colours, images, "/dev/null", "--force")
    assert "cannot be written to" in refused(colours, images, images / "2.png" / "out.csv")
    assert "cannot be written" in refused(colours, images, tmp_path / ("a" * 300))


def test_a_folder_that_is_no_export_is_named(colours, images, tmp_path):
    for folder in (images, tmp_path / "gone", colours / "config.json"):
        line = refused(folder, images, "-")
        assert f"{folder / 'config.json'}: cannot be read: " in line
        assert line.endswith("; name an export, as 'kdsearch export-best' makes one")
    (colours / "student.onnx").unlink()
    assert "student.onnx: no such file; export again" in refused(colours, images, "-")
    assert "does not load" in refused(colours, images, "-", "--with", "torch")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"weights": "new"},
            "config.json: weights: extra inputs are not permitted; it is damaged or of another",
        ),
        ({"classes": None}, "config.json: classes: must be a valid array"),
        (
            {"input": CONFIG["input"] | {"crop": "left"}},
            "config.json: input.crop: must be 'centre' or 'none'",
        ),
        ({"input": CONFIG["input"] | {"size": 9}}, "no answer for an image of 9 pixels"),
        ({"input": CONFIG["input"] | {"size": 10**8}}, "no answer for an image of 100000000 pixels"),
        ({"classes": ["red", "green"]}, "the network has 3 classes, config.json 2; export again"),
    ],
)
def test_a_config_of_another_form_is_an_error(colours, images, changed, said):
    (colours / "config.json").write_text(json.dumps(CONFIG | changed))
    assert said in refused(colours, images, "-")


def test_damaged_files_of_an_export_are_errors(colours, images):
    whole = (colours / "student.onnx").read_bytes()
    (colours / "student.onnx").write_bytes(whole[:-20])
    assert "student.onnx does not run" in refused(colours, images, "-")
    onnx.save(network(classes=2), colours / "student.onnx")
    assert "the network has 2 classes" in refused(colours, images, "-")
    (colours / "config.json").write_text('{"study": ')
    assert "config.json: invalid JSON" in refused(colours, images, "-")
    (colours / "config.json").write_bytes(b"\xff\xfe")
    assert "not a text file in UTF-8" in refused(colours, images, "-")


def test_images_that_are_not_there_or_cannot_be_told_apart_are_errors(colours, images, tmp_path, paint):
    assert "gone: cannot be read (No such file or directory)" in refused(colours, tmp_path / "gone", "-")
    (tmp_path / "empty").mkdir()
    assert "no images in this folder" in refused(colours, tmp_path / "empty", "-")
    assert "--top 4: the export has 3 classes" in refused(colours, images, "-", "--top", "4")
    paint("9/2.png", RED)
    assert "two images with the Id '2'; --id path" in refused(colours, images, "-")
