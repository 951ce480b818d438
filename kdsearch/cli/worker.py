"""`kdsearch worker`: join a study."""

from typing import Any

import click

from kdsearch.cli.options import quiet, study_values


@click.command()
@click.argument("study")
@study_values
@quiet
def worker(study: str, quiet: bool, values: dict[str, Any]) -> None:
    """Train students of STUDY until the study is finished.

    STUDY is the name of a study in the database. The settings are those that the database holds; only
    --storage, --workers, --device and --data have an effect here. This command does not write to MLflow;
    'kdsearch run' and 'kdsearch sync' do.

    \b
    kdsearch worker food11 --storage postgresql+psycopg://me@db/kdsearch --data /data/food11
    """
    from kdsearch import api
    from kdsearch.cli.display import show_summary, watching

    with watching(quiet) as watch:
        summary = api.join(study, values=values, watch=watch)
    show_summary(summary)
