"""`kdsearch run`: the main job."""

from typing import Any

import click

from kdsearch.cli.options import TRIALS, quiet, study_values


@click.command()
@click.argument("study", default="digits")
@TRIALS
@study_values
@quiet
def run(study: str, quiet: bool, values: dict[str, Any]) -> None:
    """Search for the best student of STUDY.

    STUDY is the name of a shipped study, or a TOML file; digits if left out. The same command resumes an
    interrupted search; a larger --trials extends a finished one.

    \b
    kdsearch run
    kdsearch run fashion-mnist --trials 200 --workers 4
    kdsearch run food11 --data ~/food11
    kdsearch run my.toml --set training.epochs=20 --name longer
    """
    from kdsearch import api
    from kdsearch.cli.display import show_summary, watching

    with watching(quiet) as watch:
        summary = api.run(study, values=values, watch=watch)
    show_summary(summary)
