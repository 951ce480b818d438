"""Keeps large libraries that a training process does not need out of it."""

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
    """Replaces alembic's context for a database whose tables another process has checked."""

    @classmethod
    def configure(cls, _: object) -> Self:
        return cls()

    def get_current_revision(self) -> str:
        """Any text will do: Optuna only asks whether there is a revision."""
        return "checked"


class NoCompiler(ModuleType):
    """Replaces torch's compiler, which torch only tells to do nothing; loads it for anything else."""

    @staticmethod
    def disable(function: Callable[..., Any], *_: object, **__: object) -> Callable[..., Any]:
        return function

    @staticmethod
    def graph_break(*_: object, **__: object) -> None:
        pass  # there is no graph

    def __getattr__(self, name: str) -> Any:
        """An attribute of the real compiler, which activation checkpointing needs."""
        if name.startswith("__"):
            raise AttributeError(name)
        compiler_back()
        return getattr(import_module("torch._dynamo"), name)


def stay_lean() -> None:
    """Keeps torch's compiler and alembic out of this process, and limits the caches of compiled kernels.

    torch's optimizers import the compiler only to tell it to leave them alone: 190 MiB and a second for
    nothing, since students are not compiled here. Optuna's storage imports alembic, 17 MiB, to ask whether
    there is a revision. A library that has been loaded already stays.
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
    """Makes the next import of torch's compiler load the real one: torchvision imports parts of it."""
    if isinstance(sys.modules.get("torch._dynamo"), NoCompiler):
        del sys.modules["torch._dynamo"], vars(torch)["_dynamo"]


def in_place(network: nn.Module) -> nn.Module:
    """Makes activations after a BatchNorm overwrite its output, which nothing else needs."""
    for layers in network.modules():
        if isinstance(layers, nn.Sequential):
            for before, layer in pairwise(layers):
                if isinstance(before, nn.BatchNorm2d) and "inplace" in vars(layer):
                    vars(layer)["inplace"] = True
    return network


def give_memory_back() -> None:
    """Returns the last student's free memory to the system: its blocks rarely fit the next one's shapes."""
    gc.collect()
    torch.cuda.empty_cache()  # for the other workers of a GPU; without one it does nothing
    gc.freeze()  # what outlives a trial stays: the next collection need not look at stored trials
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others have none, and less need
    if trim is not None:
        trim(0)
