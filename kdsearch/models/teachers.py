"""Teachers: classifiers of torchvision and timm that also hand out what their last layer and blocks see."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torchvision import models

from kdsearch.errors import TeacherError
from kdsearch.models.heads import check_output, replace_classifier, replace_head
from kdsearch.models.measure import show_one
from kdsearch.models.pretrained import check_name, pretrained, random_net
from kdsearch.models.timm_nets import is_timm, timm_net
from kdsearch.models.weights import MALFORMED
from kdsearch.outputs import Outputs, Shapes

SMALL = 64  # images below this many pixels get a stem that keeps their size


class Teacher(nn.Module):
    """A network that ends in a Head, fed with B x 3 x H x W in 0..1.

    `net` keeps its library's own keys, so a state dict of such a network fits `teacher.net`. `head` is the
    path of its new last layers.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, net: nn.Module, shapes: Shapes, head: str, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.head, self.frozen = head, False
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.net = net
        self.shapes = shapes
        self.hints: dict[str, Tensor] = {}

    @property
    def body(self) -> list[nn.Parameter]:
        """The parameters of all layers before the head."""
        named = self.net.named_parameters()
        return [parameter for path, parameter in named if not path.startswith(f"{self.head}.")]

    def freeze_body(self, *, frozen: bool) -> None:
        """Keeps the body as it is in the trainings to come, its BatchNorm statistics too; or no longer."""
        self.frozen = frozen
        for parameter in self.body:
            parameter.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> "Teacher":
        super().train(mode)
        if mode and self.frozen:
            self.net.eval()
            self.net.get_submodule(self.head).train()
        return self

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


def build_teacher(
    name: str,
    classes: int,
    image_size: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    *,
    head: Sequence[int] = (),
    origin: str | None = None,
) -> Teacher:
    """The classifier `name` with a fresh head, its weights from torch's global generator.

    `name` is torchvision's, or timm's after `timm:`. `head` has the widths of hidden layers before the last
    one. Below 64 px its stem keeps the image's size. With an `origin` it starts from the published weights,
    `imagenet`, or from those in a file, and from their normalisation instead of `mean` and `std`; the layers
    that are replaced are new: the head, and the first convolution of torchvision's ResNets below 64 px.
    Raises TeacherError if the name is unknown, the network cannot read images of that size, or there are no
    such weights.
    """
    if is_timm(name):
        net, *normalised = timm_net(name, image_size, origin)
        new = replace_classifier(net, name, classes, head)
    else:
        check_name(name)
        net, *normalised = pretrained(name, origin) if origin else (random_net(name), mean, std)
        new = replace_head(net, classes, head)
    if image_size < SMALL:
        keep_size(net)
    shapes = Shapes(classes, new.embedding, hint_shapes(net, name, image_size))
    if is_timm(name):
        check_output(net, name, image_size)
    mean, std = normalised if origin else (mean, std)
    return Teacher(net, shapes, new.path, mean, std)


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
    except MALFORMED:
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
