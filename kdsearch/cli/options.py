"""Options that several commands share."""

import tomllib
from collections.abc import Callable
from typing import Any, TypeVar

import click

from kdsearch.api import STORAGE
from kdsearch.errors import StudyFileError
from kdsearch.urls import masked

F = TypeVar("F", bound=Callable[..., Any])


def value(key: str, *flags: str, **attributes: Any) -> Callable[[F], F]:
    """An option that replaces the study file's value at `key`; a command gets all of these as `values`."""

    def put(context: click.Context, _: click.Parameter, given: Any) -> None:
        values = context.params.setdefault("values", {})
        if given is not None:
            values[key] = given

    return click.option(*flags, callback=put, expose_value=False, **attributes)


def put_settings(context: click.Context, _: click.Parameter, settings: tuple[str, ...]) -> None:
    """Adds the values of --set; an option that replaces the same value wins, wherever it stands."""
    context.params["values"] = dict(map(parse_setting, settings)) | context.params.get("values", {})


def parse_setting(text: str) -> tuple[str, Any]:
    """`table.key=value`, the value read as TOML, or as text where it is no TOML. Raises StudyFileError."""
    key, equals, setting = text.partition("=")
    if not equals or not key.strip():
        raise StudyFileError(f"--set {masked(text)}: write table.key=value, as in --set training.epochs=20")
    try:
        return key.strip(), tomllib.loads(f"value = {setting}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), setting.strip()
    except (ValueError, RecursionError) as error:
        raise StudyFileError(f"--set {key.strip()}: not a value of TOML ({error})") from None


def together(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    """All these options, in this order."""

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


TRIALS = value(
    "run.trials",
    "--trials",
    type=click.IntRange(1),
    help="Finished trials to have; left out: as before, 100 at first.",
)
WORKERS = value(
    "run.workers",
    "--workers",
    metavar="K|auto",
    help="Processes on this machine; auto: one a GPU, or one a core.",
)
SEED = value("seed", "--seed", type=int, help="Of everything random; the same seed gives the same trials.")
DEVICE = value(
    "run.device", "--device", help="auto, cpu, cuda, cuda:0, ...; auto is CUDA where there is one."
)
DATA = value("data.path", "--data", metavar="PATH", help="Where the images lie.")
STUDY_STORAGE = value(
    "run.storage",
    "--storage",
    metavar="URL",
    envvar="KDSEARCH_STORAGE",
    show_envvar=True,
    help=f"The study's database; {STORAGE} if nothing else is said.",
)
STUDY_URI = value(
    "run.tracking_uri",
    "--tracking-uri",
    metavar="URI",
    help="MLflow; else MLFLOW_TRACKING_URI, else sqlite:///mlflow.db.",
)
NAME = value("name", "--name", help="The study's name, where it is not the file's.")
NO_PRUNE = value("search.pruner", "--no-prune", flag_value="none", help="Train every trial to its end.")
SETTINGS = click.option(
    "--set",
    callback=put_settings,
    expose_value=False,
    multiple=True,
    metavar="TABLE.KEY=VALUE",
    help="Any other value of the file.",
)

study_values = together(WORKERS, SEED, DEVICE, DATA, STUDY_STORAGE, STUDY_URI, NAME, NO_PRUNE, SETTINGS)
teacher_values = together(SEED, DEVICE, DATA, SETTINGS)  # those that a teacher depends on

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
