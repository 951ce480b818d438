"""`kdsearch init`: create a study that workers on many machines then join."""

from typing import Unpack

import click

from kdsearch.cli.overrides import Replaced, given, overrides, quiet


@click.command()
@click.argument("study")
@click.option(
    "--trials", type=click.IntRange(1), help="Finished trials to have; left out: as before, 100 at first."
)
@overrides
@quiet
def init(study: str, trials: int | None, quiet: bool, **replaced: Unpack[Replaced]) -> None:
    """Create STUDY, a shipped name or a TOML file, with its tables and its teacher; train no student.

    \b
    kdsearch init food11 --storage postgresql+psycopg://me@db/kdsearch --data /data/food11 --trials 1000
    """
    from kdsearch import api
    from kdsearch.cli.display import show_created, watching

    with watching(quiet) as watch:
        summary = api.create(study, trials=trials, overrides=given(replaced), watch=watch)
    show_created(summary)
