"""Options that several commands share."""

from collections.abc import Callable
from typing import Any, TypedDict, TypeVar

import click

from kdsearch.api import STORAGE, Overrides

F = TypeVar("F", bound=Callable[..., Any])


class Teaching(TypedDict):
    """The keyword arguments that `teaching` adds to a command."""

    seed: int | None
    device: str | None
    data: str | None
    settings: tuple[str, ...]


class Replaced(Teaching):
    """The keyword arguments that `overrides` adds to a command."""

    workers: str | None
    storage: str | None
    tracking_uri: str | None
    name: str | None
    pruner: str | None


SEED = click.option("--seed", type=int, help="Of everything random; the same seed gives the same trials.")
DEVICE = click.option("--device", help="auto, cpu, cuda, cuda:0, ...; auto is CUDA where there is one.")
DATA = click.option("--data", metavar="PATH", help="Where the images lie.")
STUDY_STORAGE = click.option(
    "--storage",
    metavar="URL",
    envvar="KDSEARCH_STORAGE",
    show_envvar=True,
    help=f"The study's database; {STORAGE} if nothing else is said.",
)
NAME = click.option("--name", help="The study's name, where it is not the file's.")
SETTINGS = click.option(
    "--set", "settings", multiple=True, metavar="TABLE.KEY=VALUE", help="Any other value of the file."
)

OPTIONS = (
    click.option(
        "--workers", metavar="K|auto", help="Processes on this machine; auto: one a GPU, or one a core."
    ),
    SEED,
    DEVICE,
    DATA,
    STUDY_STORAGE,
    click.option(
        "--tracking-uri", metavar="URI", help="MLflow; else MLFLOW_TRACKING_URI, else sqlite:///mlflow.db."
    ),
    NAME,
    click.option("--no-prune", "pruner", flag_value="none", help="Train every trial to its end."),
    SETTINGS,
)

storage = click.option(
    "--storage",
    default=STORAGE,
    show_default=True,
    metavar="URL",
    envvar="KDSEARCH_STORAGE",
    show_envvar=True,
    help="The database.",
)
quiet = click.option("--quiet", "-q", is_flag=True, help="No progress; errors and results only.")
tracking_uri = click.option(
    "--tracking-uri", metavar="URI", help="MLflow; else MLFLOW_TRACKING_URI, else mlflow.db."
)


def teaching(command: F) -> F:
    """Adds those of them that a teacher depends on; they arrive as `Teaching`."""
    for option in reversed((SEED, DEVICE, DATA, SETTINGS)):
        command = option(command)
    return command


def overrides(command: F) -> F:
    """Adds the options that stand above a study file's values; they arrive as `Replaced`."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def given(replaced: Replaced) -> Overrides:
    """The options as a Record; a storage that is not named may come from the environment."""
    return Overrides(**replaced)
