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

    def put(context: click.Context, _: click.Parameter, replacement: Any) -> None:
        values = context.params.setdefault("values", {})
        if replacement is not None:
            values[key] = replacement

    return click.option(*flags, callback=put, expose_value=False, **attributes)


def put_settings(context: click.Context, _: click.Parameter, settings: tuple[str, ...]) -> None:
    """Adds the values of --set; an option that replaces the same value wins, wherever it stands."""
    context.params["values"] = dict(map(parse_setting, settings)) | context.params.get("values", {})


def parse_setting(text: str) -> tuple[str, Any]:
    """Splits `table.key=value`; reads the value as TOML, else as text. Raises StudyFileError."""
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
    help="Number of finished trials at which the study ends; if left out: unchanged, 100 for a new study.",
)
FINALISTS = value(
    "finalists.count",
    "--finalists",
    type=click.IntRange(0),
    help="Number of the best trials that are trained again after the search; 0: none.",
)
SEEDS = value("finalists.seeds", "--seeds", type=click.IntRange(1), help="Trainings of each finalist.")
EPOCHS = value("finalists.epochs", "--epochs", type=click.IntRange(1), help="Epochs of each training.")
WORKERS = value(
    "run.workers",
    "--workers",
    metavar="K|auto",
    help="Training processes on this machine; auto: one for each GPU, without a GPU one for each core.",
)
SEED = value(
    "seed", "--seed", type=int, help="Seed of all random numbers; the same seed gives the same trials."
)
DEVICE = value(
    "run.device",
    "--device",
    help="Device to train on: auto, cpu, cuda, cuda:0, ...; auto is CUDA if the machine has it.",
)
DATA = value("data.path", "--data", metavar="PATH", help="Folder with the images.")
STUDY_STORAGE = value(
    "run.storage",
    "--storage",
    metavar="URL",
    envvar="KDSEARCH_STORAGE",
    show_envvar=True,
    help=f"URL of the study's database; {STORAGE} if neither option, variable nor study file names one.",
)
STUDY_URI = value(
    "run.tracking_uri",
    "--tracking-uri",
    metavar="URI",
    help="URI of MLflow's store or server; if left out: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db.",
)
MAX_PARAMS = value(
    "budget.max_params",
    "--max-params",
    type=click.IntRange(100),
    help="The most parameters that a student may have; if left out: the study file's, else 60,000.",
)
MAX_MACS = value(
    "budget.max_macs",
    "--max-macs",
    type=click.IntRange(1000),
    help="The most multiply-adds that a student may need for one image; if left out: the study file's.",
)
NAME = value("name", "--name", help="Name of the study; if left out: the name of the study file.")
NO_PRUNE = value("search.pruner", "--no-prune", flag_value="none", help="Train every trial to its end.")
SETTINGS = click.option(
    "--set",
    callback=put_settings,
    expose_value=False,
    multiple=True,
    metavar="TABLE.KEY=VALUE",
    help="Replace any other value of the study file; may be given several times.",
)

study_values = together(
    WORKERS, SEED, DEVICE, DATA, MAX_PARAMS, MAX_MACS, STUDY_STORAGE, STUDY_URI, NAME, NO_PRUNE, SETTINGS
)
place_values = together(WORKERS, DEVICE, DATA, STUDY_STORAGE, STUDY_URI)
replay_values = together(DEVICE, DATA, STUDY_STORAGE)
teacher_values = together(SEED, DEVICE, DATA, SETTINGS)  # those that a teacher depends on

storage = click.option(
    "--storage",
    default=STORAGE,
    show_default=True,
    metavar="URL",
    envvar="KDSEARCH_STORAGE",
    show_envvar=True,
    help="URL of the database with the studies.",
)
data = click.option(
    "--data", metavar="PATH", help="Folder with the images, if it moved since the study was created."
)
quiet = click.option("--quiet", "-q", is_flag=True, help="Show errors and results only, no progress.")
tracking_uri = click.option(
    "--tracking-uri",
    metavar="URI",
    help="URI of MLflow's store or server; if left out: the study's own, else MLFLOW_TRACKING_URI, else "
    "sqlite:///mlflow.db.",
)
