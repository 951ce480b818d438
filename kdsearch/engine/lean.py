"""What a training process does without, to stay small."""

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from itertools import pairwise
from types import ModuleType
from typing import Any, Self

import torch
from torch import nn

KERNELS = "64"  # that oneDNN keeps compiled: those of one student, where its own default is 1,024


class Migration:
    """In place of alembic's context, of a database whose tables another process has checked."""

    @classmethod
    def configure(cls, _: object) -> Self:
        """As alembic's."""
        return cls()

    def get_current_revision(self) -> str:
        """Anything: Optuna asks whether there is one."""
        return "checked"


def stay_lean() -> None:
    """Keeps torch's compiler and alembic out of this process; lets oneDNN forget earlier students' kernels.

    torch's optimizers import the compiler only to tell it to leave them alone: 190 MiB and a second for
    nothing, since students are not compiled here. Optuna's storage imports alembic, 17 MiB, to ask whether
    there is a revision. Does nothing about what has been loaded already.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", KERNELS)
    gc.freeze()  # what is imported stays: a collection after each trial need not look at it
    if "alembic" not in sys.modules:
        sys.modules["alembic.migration"] = _module("alembic.migration", MigrationContext=Migration)
    if "torch._dynamo" not in sys.modules:
        compiler = _module("torch._dynamo", disable=_unchanged, graph_break=_nothing)
        sys.modules["torch._dynamo"] = vars(torch)["_dynamo"] = compiler


def in_place(network: nn.Module) -> nn.Module:
    """The same network; activations that follow a BatchNorm overwrite its output, which nobody else needs."""
    for layers in network.modules():
        if isinstance(layers, nn.Sequential):
            for before, layer in pairwise(layers):
                if isinstance(before, nn.BatchNorm2d) and "inplace" in vars(layer):
                    vars(layer)["inplace"] = True
    return network


def give_memory_back() -> None:
    """Returns what the last student left to the system: its blocks rarely fit the next one's shapes."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others have none, and less need
    if trim is not None:
        trim(0)


def _module(name: str, **attributes: object) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(attributes)
    return module


def _unchanged(function: Callable[..., Any], *_: object, **__: object) -> Callable[..., Any]:
    return function


def _nothing(*_: object, **__: object) -> None:
    return None
