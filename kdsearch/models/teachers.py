"""Teachers: torchvision's classifiers and their published weights; the head also hands out its input."""

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from http.client import HTTPException
from io import StringIO
from itertools import pairwise, takewhile
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn
from torchvision import models

from kdsearch.errors import TeacherError
from kdsearch.models.measure import show_one
from kdsearch.models.weights import read_weights
from kdsearch.names import nearest_first
from kdsearch.outputs import Outputs, Shapes

FORCED = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
SMALL = 64  # images below this many pixels get a stem that keeps their size
# Auxiliary heads that answer in training only, or no linear layer at the end.
UNFIT = {"googlenet", "inception_v3", "squeezenet1_0", "squeezenet1_1"}


class Head(nn.Linear):
    """A linear layer that returns its input as well; as the last layer it makes the network do so."""

    def forward(self, embedding: Tensor) -> Outputs:  # type: ignore[override]
        """Logits B x C and embedding B x D; no hints."""
        return Outputs(super().forward(embedding), embedding, {})


class Teacher(nn.Module):
    """A torchvision network that ends in a Head, fed with B x 3 x H x W in 0..1.

    `net` keeps torchvision's own keys, so a state dict of such a network fits `teacher.net`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, net: nn.Module, shapes: Shapes, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.net = net
        self.shapes = shapes
        self.hints: dict[str, Tensor] = {}

    def watch_hints(self) -> None:
        """Makes the outputs hold the maps that `shapes` names from now on."""
        for path in self.shapes.hints:
            self.net.get_submodule(path).register_forward_hook(partial(self._keep, path))

    def _keep(self, path: str, _: nn.Module, __: tuple[Tensor], hint: Tensor) -> None:
        self.hints[path] = hint

    def forward(self, images: Tensor) -> Outputs:
        """Logits, embedding and watched hints, with gradients: for training the teacher."""
        outputs: Outputs = self.net((images - self.mean) / self.std)
        hints, self.hints = self.hints, {}
        return outputs._replace(hints=hints)

    @torch.no_grad()
    def answer(self, images: Tensor) -> Outputs:
        """The outputs as a student may see them: in eval mode, without gradients."""
        return Outputs(*self.eval()(images))


def teacher_names() -> list[str]:
    """The names that `build_teacher` knows."""
    return sorted(set(models.list_models(module=models)) - UNFIT)


def offered() -> dict[str, int]:
    """These names with torchvision's count of their parameters, for 1,000 classes; builds no network."""
    return {name: models.get_model_weights(name).DEFAULT.meta["num_params"] for name in teacher_names()}


def build_teacher(
    name: str,
    classes: int,
    image_size: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    *,
    head: Sequence[int] = (),
    from_pretrained: bool = False,
) -> Teacher:
    """The torchvision classifier `name` with a fresh head, its weights from torch's global generator.

    `head` has the widths of hidden layers before the last one. Below 64 px its stem keeps the image's size.
    `from_pretrained` starts from torchvision's weights and their normalisation instead of `mean` and `std`;
    the layers that are replaced are new: the head, and the first convolution of a ResNet below 64 px. Raises
    TeacherError if the name is unknown, the network cannot read images of that size, or there are no
    such weights.
    """
    if name not in teacher_names():
        near = nearest_first(name, teacher_names(), 3)
        raise TeacherError(f"[teacher] model: unknown {name!r}; known, nearest first: {near}, ...")
    if from_pretrained:
        net, mean, std = pretrained(name)
    else:
        net = models.get_model(name, weights=None)
    embedding = replace_head(net, classes, head)
    if image_size < SMALL:
        keep_size(net)
    return Teacher(net, Shapes(classes, embedding, hint_shapes(net, name, image_size)), mean, std)


def replace_head(net: nn.Module, classes: int, hidden: Sequence[int] = ()) -> int:
    """Replaces the last linear layer by a Head for `classes`; returns the width of its input.

    With `hidden` widths it replaces all of torchvision's classifier, by a linear layer, ReLU and dropout for
    each width, then the Head, as in VGG (arXiv 1409.1556, section 2.1).
    """
    layers = [(path, layer) for path, layer in net.named_modules() if isinstance(layer, nn.Linear)]
    path, last = layers[-1]
    if not hidden:
        net.set_submodule(path, Head(last.in_features, classes, bias=last.bias is not None))
        return last.in_features
    place = path.partition(".")[0]
    classifier = net.get_submodule(place)
    kept = takewhile(lambda layer: not isinstance(layer, nn.Linear), classifier.children())
    first = next(layer for path, layer in layers if path.partition(".")[0] == place)
    widths = [first.in_features, *hidden]
    new = [part for pair in pairwise(widths) for part in (nn.Linear(*pair), nn.ReLU(), nn.Dropout())]
    net.set_submodule(place, nn.Sequential(*kept, *new, Head(widths[-1], classes)))
    return widths[-1]


def keep_size(net: nn.Module) -> None:
    """The stem for small images: 3 x 3 without pooling in a ResNet, as in arXiv 1512.03385, section 4.2.

    In any other network the first layer that halves the image gets stride 1.
    """
    if isinstance(net, models.ResNet):
        net.conv1 = nn.Conv2d(3, net.conv1.out_channels, 3, padding=1, bias=False)
        net.maxpool = nn.Identity()
        return
    for path, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2):
            layer.stride = (1, 1)
            return
        if isinstance(layer, nn.MaxPool2d):
            net.set_submodule(path, nn.Identity())
            return


def hint_shapes(net: nn.Module, name: str, image_size: int) -> dict[str, tuple[int, ...]]:
    """The maps that can be hints: of each size that the network has, the last one, by its module's path.

    They are in the order of the forward pass, C x H x W; for a ResNet layer1 to layer4. Only outputs of whole
    blocks count, and no enlarged map. Runs the network on one image of that size; raises TeacherError if it
    cannot read it.
    """
    blocks = [(path, layer) for path, layer in net.named_modules() if path and path.count(".") < 2]
    try:
        answers = show_one(net, image_size, blocks)
    except (RuntimeError, AssertionError):
        raise TeacherError(
            f"[teacher] model: {name} cannot read images of {image_size} x {image_size}; "
            "choose another image_size, or a teacher such as resnet18"
        ) from None
    net.train()
    last_of_size: dict[int, tuple[str, tuple[int, ...]]] = {}
    for path, _, (_, *shape) in answers:
        if len(shape) == 3 and shape[1] == shape[2] > 1 and shape[2] <= min(last_of_size, default=shape[2]):
            last_of_size[shape[2]] = path, tuple(shape)
    return dict(last_of_size.values())


class Pretrained(NamedTuple):
    """A network with published weights, and the normalisation that these expect."""

    net: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]


def pretrained(name: str) -> Pretrained:
    """The torchvision classifier `name` with its default weights, 1,000 classes of ImageNet.

    Downloads them if the machine does not have them. Raises TeacherError with the ways out if the download
    fails, or if the file is not the published one.
    """
    weights = models.get_model_weights(name).DEFAULT
    path = Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(weights.url).path).name)
    if not path.exists():
        _download(name, weights, path)
    read_weights(path)  # torchvision would run code in the file: this refuses one that has any
    try:
        with tensors_only(), warnings.catch_warnings(action="ignore"):
            net = models.get_model(name, weights=weights, progress=False)
    except (RuntimeError, UnpicklingError):
        raise TeacherError(
            f"{path}: not torchvision's weights of {name}; remove it, or put {weights.url} there"
        ) from None
    preset = weights.transforms()
    return Pretrained(net, tuple(preset.mean), tuple(preset.std))


@contextmanager
def tensors_only() -> Iterator[None]:
    """Makes every torch.load in this process refuse code, whatever its arguments: a file can look harmless to
    one reader and not to another.
    """
    before = os.environ.get(FORCED)
    os.environ[FORCED] = "1"
    try:
        yield
    finally:
        os.environ.pop(FORCED) if before is None else os.environ.update({FORCED: before})


def _download(name: str, weights: models.WeightsEnum, path: Path) -> None:
    try:
        with redirect_stdout(StringIO()):
            weights.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    except (OSError, HTTPException, RuntimeError) as error:
        reason = getattr(error, "reason", error)
        raise TeacherError(
            f"[teacher] pretrained: cannot download torchvision's weights of {name} ({reason}); "
            f"fetch {weights.url} and put it at {path}, or name a file of your own with checkpoint, "
            "or leave pretrained out"
        ) from None
