"""What a training process does without, to stay small."""

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from types import ModuleType
from typing import Any, Self

import torch
from torch import nn

KERNELS = "128"  # compiled ones to keep: those of one deep student, where the default is 1,024 in both caches


class Migration:
    """In place of alembic's context, of a database whose tables another process has checked."""

    @classmethod
    def configure(cls, _: object) -> Self:
        """As alembic's."""
        return cls()

    def get_current_revision(self) -> str:
        """Anything: Optuna asks whether there is one."""
        return "checked"


class NoCompiler(ModuleType):
    """In place of torch's compiler; gives way to it when asked for more than to leave something alone."""

    @staticmethod
    def disable(function: Callable[..., Any], *_: object, **__: object) -> Callable[..., Any]:
        """The function as it is."""
        return function

    @staticmethod
    def graph_break(*_: object, **__: object) -> None:
        """There is no graph."""

    def __getattr__(self, name: str) -> Any:
        """The compiler's own, as activation checkpointing needs it."""
        if name.startswith("__"):
            raise AttributeError(name)
        compiler_back()
        return getattr(import_module("torch._dynamo"), name)


def stay_lean() -> None:
    """Keeps torch's compiler and alembic out of this process; lets go of earlier students' kernels.

    torch's optimizers import the compiler only to tell it to leave them alone: 190 MiB and a second for
    nothing, since students are not compiled here. Optuna's storage imports alembic, 17 MiB, to ask whether
    there is a revision. Does nothing about what has been loaded already.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", KERNELS)
    os.environ.setdefault("LRU_CACHE_CAPACITY", KERNELS)  # of convolutions, which hold their kernels
    gc.freeze()  # what is imported stays: a collection after each trial need not look at it
    if "alembic" not in sys.modules:
        migration = sys.modules["alembic.migration"] = ModuleType("alembic.migration")
        vars(migration)["MigrationContext"] = Migration
    if "torch._dynamo" not in sys.modules:
        sys.modules["torch._dynamo"] = vars(torch)["_dynamo"] = NoCompiler("torch._dynamo")


def compiler_back() -> None:
    """Lets the next import of torch's compiler be the real one: torchvision imports parts of it."""
    if isinstance(sys.modules.get("torch._dynamo"), NoCompiler):
        del sys.modules["torch._dynamo"], vars(torch)["_dynamo"]


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
    torch.cuda.empty_cache()  # for the other workers of a GPU; without one it does nothing
    gc.freeze()  # what outlives a trial stays: the next collection need not look at stored trials
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others have none, and less need
    if trim is not None:
        trim(0)
