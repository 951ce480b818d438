"""Train a trial again, and compare it with its record."""

from typing import Any

import click

from kdsearch import api
from kdsearch.cli.display_progress import watching
from kdsearch.cli.display_replay import show_replayed
from kdsearch.cli.options import quiet, replay_values


@click.command()
@click.argument("trial", type=click.IntRange(0))
@click.argument("study", required=False)
@click.option(
    "--keep",
    is_flag=True,
    help="If all epochs of a complete trial are equal, store its weights again where the database has them "
    "no longer; the next trial that is among the best ten removes them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")
@replay_values
@quiet
def replay(
    trial: int, study: str | None, *, keep: bool, as_json: bool, quiet: bool, values: dict[str, Any]
) -> None:
    """Train trial number TRIAL of STUDY again, and compare.

    The command says whether losses, accuracy and learning rate of all recorded epochs are bitwise the same
    (exit code 0), or which epoch, counted from 0, is the first that differs (exit code 1). A pruned trial is
    trained up to its last recorded epoch. The study stays as it is; others may work on it. Finalists'
    trainings are not trials of the search, and cannot be replayed. Without STUDY the command takes the only
    study, or the one that ran last; without --device the trial's kind of device.

    \b
    kdsearch replay 12
    kdsearch replay 12 food11 --data ~/food11 --keep
    """
    with watching(quiet) as watch:
        replayed = api.replay(trial, study, values=values, keep=keep, watch=watch)
    if as_json:
        click.echo(replayed.model_dump_json())
    else:
        show_replayed(replayed)
    click.get_current_context().exit(0 if replayed.equal else 1)
