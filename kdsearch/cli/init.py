"""`kdsearch init`: create a study that workers on many machines then join."""

from typing import Any

import click

from kdsearch.cli.options import TRIALS, quiet, study_values


@click.command()
@click.argument("study")
@TRIALS
@study_values
@quiet
def init(study: str, quiet: bool, values: dict[str, Any]) -> None:
    """Create STUDY and its teacher; train no student.

    STUDY is the name of a shipped study, or a TOML file.

    \b
    kdsearch init food11 --storage postgresql+psycopg://me@db/kdsearch --data /data/food11 --trials 1000
    """
    from kdsearch import api
    from kdsearch.cli.display import show_created, watching

    with watching(quiet) as watch:
        summary = api.create(study, values=values, watch=watch)
    show_created(summary)
