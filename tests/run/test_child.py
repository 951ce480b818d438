import ctypes
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kdsearch.run.child import ENVIRONMENT, Child
from tests.servers import wait_until

ROOT = Path(__file__).parents[2]
LARGE = 1000 * 2**20  # more than a process that has run other tests may have free in one piece


@pytest.fixture(autouse=True)
def children_find_these_tests(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)


def told(target, *args):
    """What a child that ran `target` has said."""
    child = Child(target).begin(*args)
    said = []
    wait_until(lambda: said.extend(child.messages()) or child.ended, "the child's end")
    assert child.process.exitcode == 0
    return said


class Allocation(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks")),
        ("rest", ctypes.c_size_t * 6),
    ]


def own_mappings():
    """How many mappings of its own a large buffer is, in this process."""
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype, libc.malloc.restype = Allocation, ctypes.c_void_p
    before = libc.mallinfo2().hblks
    buffer = libc.malloc(ctypes.c_size_t(LARGE))
    assert buffer
    mappings = libc.mallinfo2().hblks - before
    libc.free(ctypes.c_void_p(buffer))
    return mappings


def tell_own_mappings(connection):
    connection.send(own_mappings())


def tell_environment(connection):
    connection.send(tuple(os.environ.get(name) for name in ENVIRONMENT))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator's settings are glibc's")
def test_a_child_keeps_large_buffers_mapped_for_the_next_step():
    assert own_mappings() == 1  # glibc as it comes
    assert told(f"{__name__}:tell_own_mappings") == [0]


def test_what_the_user_says_stays(monkeypatch):
    first, *others = ENVIRONMENT
    monkeypatch.setenv(first, "131072")
    assert told(f"{__name__}:tell_environment") == [("131072", *(ENVIRONMENT[name] for name in others))]
    assert not set(others) & set(os.environ)


TWICE = """
import atexit, os, signal
from kdsearch.run.preparing import stop

signal.signal(signal.SIGTERM, stop)
atexit.register(os.kill, os.getpid(), signal.SIGTERM)
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_second_sigterm_finds_the_preparing_process_leaving_quietly():
    ended = subprocess.run([sys.executable, "-c", TWICE], check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGTERM, "")
