"""What a training process does without, to stay small."""

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

KERNELS = "128"  # that oneDNN keeps compiled: about those of two students, where its own default is 1,024


def stay_lean() -> None:
    """Keeps torch's compiler out of this process, and lets oneDNN forget the kernels of earlier students.

    torch's optimizers import the compiler only to tell it to leave them alone: 190 MiB and a second for
    nothing, since students are not compiled here. Does nothing where the compiler is there already.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", KERNELS)
    gc.freeze()  # what is imported stays: a collection after each trial need not look at it
    if "torch._dynamo" in sys.modules:
        return
    absent = ModuleType("torch._dynamo")
    vars(absent).update(disable=_unchanged, graph_break=_nothing)
    sys.modules["torch._dynamo"] = absent
    vars(torch)["_dynamo"] = absent


def give_memory_back() -> None:
    """Returns what the last student left to the system: its blocks rarely fit the next one's shapes."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others have none, and less need
    if trim is not None:
        trim(0)


def _unchanged(function: Callable[..., Any], *_: object, **__: object) -> Callable[..., Any]:
    return function


def _nothing(*_: object, **__: object) -> None:
    return None
