"""`kdsearch train`: train one network, without a search."""

from typing import Any

import click

from kdsearch.cli.options import quiet, study_values


@click.command()
@click.argument("recipe")
@click.option("--no-test", "test", flag_value=False, default=True, help="Do not read the test split.")
@study_values
@quiet
def train(recipe: str, *, test: bool, quiet: bool, values: dict[str, Any]) -> None:
    """Train one student as RECIPE says, without a search.

    The command shows the result beside the published one. RECIPE is a shipped study's name or a TOML file.
    For the settings that it searches, the command uses the first loss and the defaults. It creates a study of
    one trial, RECIPE-train: the same command resumes it, MLflow has its run, 'kdsearch export-best' exports
    it.

    \b
    kdsearch train s0-first --data ~/food11
    kdsearch train s4 --set training.epochs=30 --name s4-short
    """
    from kdsearch import api
    from kdsearch.cli.display import show_summary, show_trained, watching

    with watching(quiet) as watch:
        summary, trained = api.train(recipe, values=values, test=test, watch=watch)
    show_summary(summary)
    show_trained(trained)
