"""`kdsearch run`: the main job."""

from typing import Unpack

import click

from kdsearch.cli.overrides import Replaced, given, overrides, quiet


@click.command()
@click.argument("study", default="digits")
@click.option(
    "--trials", type=click.IntRange(1), help="Finished trials to have; left out: as before, 100 at first."
)
@overrides
@quiet
def run(study: str, trials: int | None, quiet: bool, **replaced: Unpack[Replaced]) -> None:
    """Search STUDY: the name of a shipped study, or a TOML file.

    The same command again goes on where the last one stopped; a larger --trials extends the study.

    \b
    kdsearch run
    kdsearch run fashion-mnist --trials 200 --workers 4
    kdsearch run food11 --data ~/food11
    kdsearch run my.toml --set training.epochs=20 --name longer
    """
    from kdsearch import api
    from kdsearch.cli.display import show_summary, watching

    with watching(quiet) as watch:
        summary = api.run(study, trials=trials, overrides=given(replaced), watch=watch)
    show_summary(summary)
