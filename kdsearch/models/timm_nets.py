"""Timm's classifiers as teachers, `timm:NAME`: an extra that needs `pip install "kdsearch[timm]"`."""

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from kdsearch.errors import TeacherError
from kdsearch.files import expanded
from kdsearch.models.pretrained import Pretrained
from kdsearch.models.weights import MALFORMED, read_weights
from kdsearch.names import nearest_first
from kdsearch.tables import IMAGENET

if TYPE_CHECKING:
    from types import ModuleType

PREFIX = "timm:"
HUB_FILE = "model.safetensors"  # the one file of a model on the hub that is read: it can hold no code


def is_timm(model: str) -> bool:
    return model.startswith(PREFIX)


def timm_library(model: str) -> "ModuleType":
    """The package timm. Raises TeacherError with the extra's name if it is not installed."""
    try:
        import timm  # noqa: PLC0415
    except ImportError:
        raise TeacherError(
            f'[teacher] model = {model!r}: timm is not installed here; pip install "kdsearch[timm]"'
        ) from None
    return timm


def timm_names() -> list[str]:
    """Timm's names; none if it is not installed."""
    try:
        names: list[str] = timm_library(PREFIX).list_models()
    except TeacherError:
        return []
    return names


def check_timm_name(model: str) -> None:
    """Raises TeacherError if timm is not installed, or has no such network, or no such weights of it."""
    timm, name = timm_library(model), model.removeprefix(PREFIX)
    architecture, _, tag = name.partition(".")
    known = timm.list_models()
    if architecture not in known:
        raise _unknown(f"{model!r}", architecture, known)
    tagged = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in tagged:
        raise _unknown(f"weights {model!r}", name, tagged)


def _unknown(what: str, name: str, known: list[str]) -> TeacherError:
    three = nearest_first(name, known, 3).split(", ") if known else []
    near = ", ".join(PREFIX + each for each in three) or "none"
    return TeacherError(f"[teacher] model: unknown {what}; known, nearest first: {near}, ...")


def timm_net(model: str, image_size: int, origin: str | None) -> Pretrained:
    """The network with weights from torch's global generator, or from `origin`, and their normalisation.

    `origin` is `imagenet`, for timm's own weights on the hub, or a file's path. A network for images of one
    size only is made for `image_size`. Raises TeacherError if the weights cannot be had, or are another
    network's.
    """
    check_timm_name(model)
    name = model.removeprefix(PREFIX)
    config = timm_library(model).get_pretrained_cfg(name, allow_unregistered=True)
    sized = {"img_size": image_size} if config is not None and config.fixed_input_size else {}
    if origin is None:
        net = _made(model, sized)
    elif config is None:
        raise TeacherError(f"[teacher] pretrained: timm has no weights of {model}; leave pretrained out")
    else:
        path = hub_file(model, config.hf_hub_id) if origin == IMAGENET else expanded(origin)
        net = _filled(model, path, config, sized)
    mean, std = (config.mean, config.std) if config is not None else ((0.5,) * 3, (0.5,) * 3)
    return Pretrained(net, tuple(mean), tuple(std))


def _made(model: str, sized: dict[str, int], **more: Any) -> nn.Module:
    timm, name = timm_library(model), model.removeprefix(PREFIX)
    with warnings.catch_warnings(action="ignore"):
        try:
            net: nn.Module = timm.create_model(name, **sized, **more)
        except TypeError:
            if not sized:
                raise
            net = timm.create_model(name, **more)  # it has one size, and no setting for it
    return net


def _filled(model: str, path: Path, config: Any, sized: dict[str, int]) -> nn.Module:
    """The network with all weights of a file. Raises TeacherError."""
    weights = read_weights(path)
    overlay: dict[str, Any] = {"state_dict": weights, "custom_load": False}
    more = {}
    rows = _classes(weights, config.classifier)
    if rows not in (None, config.num_classes, config.num_classes + (config.label_offset or 0)):
        overlay["num_classes"] = more["num_classes"] = rows  # unequal numbers would excuse missing weights
    try:
        net = _made(model, sized, pretrained=True, pretrained_cfg_overlay=overlay, **more)
    except MALFORMED as error:
        raise TeacherError(
            f"{path}: not weights of {model.removeprefix(PREFIX)}: {_in_short(error)}; "
            "set [teacher] model to the network that the file is of"
        ) from None
    net.pretrained_cfg = None  # type: ignore[assignment]  # it holds the weights once more
    return net


def _classes(weights: dict[str, Tensor], classifier: object) -> int | None:
    last = weights.get(f"{classifier}.weight")
    return None if last is None else len(last)


def _in_short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < 160 else f"{text[:160]} ..."


def hub_file(model: str, hub_id: str | None) -> Path:
    """The file of published weights, downloaded if this machine does not have it. Raises TeacherError."""
    from huggingface_hub import hf_hub_download  # noqa: PLC0415
    from huggingface_hub.utils.tqdm import disable_progress_bars  # noqa: PLC0415

    if hub_id is None:
        raise TeacherError(
            f"[teacher] pretrained: timm has no weights of {model} on the hub; "
            "let pretrained name a file with some, or leave it out"
        )
    disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # else it reports each retry
    try:
        return Path(hf_hub_download(hub_id, HUB_FILE))
    except Exception as error:  # noqa: BLE001  # each version of the hub's client has exceptions of its own
        raise TeacherError(
            f"[teacher] pretrained: cannot download {HUB_FILE} of {hub_id} ({_in_short(error)}); fetch it "
            "elsewhere and let pretrained name the file, or leave pretrained out"
        ) from None
