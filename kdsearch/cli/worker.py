"""`kdsearch worker`: join a study."""

from typing import Any

import click

from kdsearch.cli.options import quiet, study_values


@click.command()
@click.argument("study")
@study_values
@quiet
def worker(study: str, quiet: bool, values: dict[str, Any]) -> None:
    """Work on STUDY, by its name in the storage, until it is finished.

    Of the options --storage, --workers, --device and --data have a meaning here; the settings are the study's
    own, from the storage. MLflow is left to `kdsearch run` or `kdsearch sync`.

    \b
    kdsearch worker food11 --storage postgresql+psycopg://me@db/kdsearch --data /data/food11
    """
    from kdsearch import api
    from kdsearch.cli.display import show_summary, watching

    with watching(quiet) as watch:
        summary = api.join(study, values=values, watch=watch)
    show_summary(summary)
