"""`kdsearch worker`: join a study."""

from typing import Unpack

import click

from kdsearch.cli.overrides import Replaced, given, overrides, quiet


@click.command()
@click.argument("study")
@overrides
@quiet
def worker(study: str, quiet: bool, **replaced: Unpack[Replaced]) -> None:
    """Work on STUDY, by its name in the storage, until it is finished.

    Of the options --storage, --workers, --device and --data have a meaning here; the settings are the study's
    own, from the storage. MLflow is left to `kdsearch run` or `kdsearch sync`.

    \b
    kdsearch worker food11 --storage postgresql+psycopg://me@db/kdsearch --data /data/food11
    """
    from kdsearch import api
    from kdsearch.cli.display import show_summary, watching

    with watching(quiet) as watch:
        summary = api.join(study, overrides=given(replaced), watch=watch)
    show_summary(summary)
