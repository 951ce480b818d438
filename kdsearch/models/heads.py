"""Heads of teachers: a new last layer that also hands out its input."""

from collections.abc import Sequence
from itertools import pairwise, takewhile
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kdsearch.errors import TeacherError
from kdsearch.outputs import Outputs


class Head(nn.Linear):
    """A linear layer that returns its input as well; as the last layer it makes the network do so."""

    def forward(self, embedding: Tensor) -> Outputs:  # type: ignore[override]
        """Logits B x C and embedding B x D; no hints."""
        return Outputs(super().forward(embedding), embedding, {})


class NewHead(NamedTuple):
    """The place of a network's new layers, and the width of the last one's input."""

    path: str
    embedding: int


def hidden_layers(inputs: int, hidden: Sequence[int]) -> list[nn.Module]:
    """A linear layer, ReLU and dropout for each width."""
    pairs = pairwise([inputs, *hidden])
    return [part for pair in pairs for part in (nn.Linear(*pair), nn.ReLU(), nn.Dropout())]


def replace_head(net: nn.Module, classes: int, hidden: Sequence[int] = ()) -> NewHead:
    """Replaces the last linear layer of torchvision's `net` by a Head for `classes`.

    With `hidden` widths it replaces all of torchvision's classifier, by a linear layer, ReLU and dropout for
    each width, then the Head, as in VGG (arXiv 1409.1556, section 2.1).
    """
    layers = [(path, layer) for path, layer in net.named_modules() if isinstance(layer, nn.Linear)]
    path, last = layers[-1]
    if not hidden:
        net.set_submodule(path, Head(last.in_features, classes, bias=last.bias is not None))
        return NewHead(path, last.in_features)
    place = path.partition(".")[0]
    classifier = net.get_submodule(place)
    kept = takewhile(lambda layer: not isinstance(layer, nn.Linear), classifier.children())
    first = next(layer for path, layer in layers if path.partition(".")[0] == place)
    new = hidden_layers(first.in_features, hidden)
    net.set_submodule(place, nn.Sequential(*kept, *new, Head(hidden[-1], classes)))
    return NewHead(place, hidden[-1])


def replace_classifier(net: nn.Module, name: str, classes: int, hidden: Sequence[int] = ()) -> NewHead:
    """The same for a network of timm's, whose classifier is one layer: the `hidden` ones come before it.

    Raises TeacherError if it is not one linear layer.
    """
    last = getattr(net, "get_classifier", nn.Identity)()
    path = next((path for path, layer in net.named_modules() if layer is last), None)
    if path is None or not isinstance(last, nn.Linear):
        raise _not_linear(name)
    new = hidden_layers(last.in_features, hidden)
    head = Head(hidden[-1] if hidden else last.in_features, classes, bias=last.bias is not None)
    net.set_submodule(path, nn.Sequential(*new, head) if new else head)
    return NewHead(path, head.in_features)


def check_output(net: nn.Module, name: str, image_size: int) -> None:
    """Raises TeacherError if something comes after the head. Runs the network on one image, in eval mode."""
    training = net.training
    with torch.no_grad():
        output = net.eval()(torch.zeros(1, 3, image_size, image_size))
    net.train(training)
    if not isinstance(output, Outputs):
        raise _not_linear(name)


def _not_linear(name: str) -> TeacherError:
    return TeacherError(f"[teacher] model: {name} does not end in one linear layer; choose another network")
