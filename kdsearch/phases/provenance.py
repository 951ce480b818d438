"""The provenance of a result: commit, versions, device."""

import platform
import shutil
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

from kdsearch.device import describe
from kdsearch.phases.bench import Bench

PACKAGES = ("kdsearch", "torch", "optuna", "numpy")


@cache
def commit() -> str:
    """The commit of the kdsearch that runs, `unknown` outside a checkout; `+` marks changes since."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    try:
        described = subprocess.run(
            [git, "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip()


@cache
def versions() -> str:
    """Of Python and of the packages that numbers depend on."""
    packages = " ".join(f"{package}=={version(package)}" for package in PACKAGES)
    return f"python=={platform.python_version()} {packages}"


def provenance(bench: Bench) -> dict[str, str]:
    """The tags of a trial: all that is needed, besides config and seed, to run it again."""
    return {
        "commit": commit(),
        "versions": versions(),
        "device": describe(bench.device),
        "threads": str(torch.get_num_threads()),
        "data_fingerprint": bench.fingerprint,
    }
