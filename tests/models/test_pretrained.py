"""Weights of torchvision, as a download leaves them; nothing here reaches a server."""

import pickle
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from torchvision import models

from kdsearch.errors import TeacherError
from kdsearch.models.teachers import build_teacher
from kdsearch.tables import IMAGENET

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.1)


@pytest.fixture(autouse=True)
def own_hub(tmp_path, monkeypatch):
    """An empty place for torch's downloads, and no server to fetch them from."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for proxy in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:1")


@pytest.fixture
def path(tmp_path):
    """Where torchvision's weights of a network would be downloaded to."""

    def of(name):
        folder = tmp_path / "torch" / "hub" / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / Path(models.get_model_weights(name).DEFAULT.url).name

    return of


@pytest.fixture
def placed(path):
    """A network of torchvision's whose weights lie there."""

    def make(name):
        torch.manual_seed(3)
        net = models.get_model(name, weights=None)
        torch.save(net.state_dict(), path(name))
        return net

    with torch.random.fork_rng():
        yield make


def start(name, image_size=64, **more):
    return build_teacher(name, 11, image_size, MEAN, STD, origin=IMAGENET, **more)


def same_but(ours, theirs, new):
    """Whether two networks have the same weights, but for the layers called so."""
    theirs = theirs.state_dict()
    kept = {key: tensor for key, tensor in ours.state_dict().items() if key.rpartition(".")[0] not in new}
    return len(theirs) > len(kept) > 0 and all(
        torch.equal(tensor, theirs[key]) for key, tensor in kept.items()
    )


@pytest.mark.parametrize(("name", "head"), [("resnet18", "fc"), ("mobilenet_v3_small", "classifier.3")])
def test_it_starts_from_torchvisions_weights_with_a_new_head_and_their_normalisation(placed, name, head):
    net = placed(name)
    made = start(name)
    assert same_but(made.net, net, {head})
    assert made.net.get_submodule(head).out_features == 11
    assert made.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert made.std.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])


def test_small_images_leave_all_but_the_first_convolution_of_a_resnet(placed):
    net = placed("resnet18")
    assert same_but(start("resnet18", 32).net, net, {"fc", "conv1"})


def test_other_networks_keep_their_whole_stem_on_small_images(placed):
    net = placed("mobilenet_v3_small")
    assert same_but(start("mobilenet_v3_small", 32).net, net, {"classifier.3"})


def test_a_deeper_head_is_new_as_a_whole(placed):
    net = placed("mobilenet_v3_small")
    made = start("mobilenet_v3_small", head=(1024, 32)).net
    assert same_but(made, net, {"classifier.0", "classifier.3", "classifier.6"})
    assert not torch.equal(made.classifier[0].weight, net.classifier[0].weight)


def test_a_machine_that_cannot_download_is_told_what_to_put_where(path):
    with pytest.raises(TeacherError) as error:
        start("resnet18")
    told = str(error.value)
    assert "\n" not in told
    assert told.startswith("[teacher] pretrained: cannot download torchvision's weights of resnet18 (")
    assert (
        f"fetch https://download.pytorch.org/models/resnet18-f37072fd.pth and put it at {path('resnet18')}"
        in told
    )
    assert told.endswith("or let pretrained name a file with them, or leave pretrained out")


class Marker:
    """Runs code when it is unpickled."""

    def __init__(self, touched):
        self.touched = touched

    def __reduce__(self):
        return Path.touch, (self.touched,)


def test_a_file_that_would_run_code_is_refused(path, tmp_path):
    path("resnet18").write_bytes(pickle.dumps({"fc.weight": Marker(tmp_path / "touched")}))
    with pytest.raises(TeacherError, match="loading it could run code"):
        start("resnet18")
    assert not (tmp_path / "touched").exists()


def test_a_file_that_looks_harmless_to_our_reader_alone_runs_nothing(path, tmp_path):
    """Torch's old format in front, a zip with one pickle behind it: torchvision's reader opens the zip."""
    target = path("resnet18")
    torch.save({"a": torch.zeros(1)}, target, _use_new_zipfile_serialization=False)
    archive = BytesIO()
    with ZipFile(archive, "w") as pack:
        pack.writestr("inside.pth", pickle.dumps({"fc.weight": Marker(tmp_path / "touched")}))
    target.write_bytes(target.read_bytes() + archive.getvalue())
    with pytest.raises(TeacherError, match="not torchvision's weights of resnet18"):
        start("resnet18")
    assert not (tmp_path / "touched").exists()


def test_a_file_of_another_network_is_refused(path, placed):
    placed("mobilenet_v3_small")
    path("mobilenet_v3_small").rename(path("resnet18"))
    with pytest.raises(
        TeacherError, match=r"pth: not torchvision's weights of resnet18; remove it, or put https"
    ):
        start("resnet18")
