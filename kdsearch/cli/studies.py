"""Run, join, create and remove studies; their state, and the export of the best student."""

from typing import Any

import click

from kdsearch import api
from kdsearch.cli.display_network import show_trained
from kdsearch.cli.display_progress import watching
from kdsearch.cli.display_run import show_summary
from kdsearch.cli.display_study import show_created, show_status, show_studies
from kdsearch.cli.options import (
    EPOCHS,
    FINALISTS,
    SEEDS,
    TRIALS,
    place_values,
    quiet,
    storage,
    study_values,
    tracking_uri,
)
from kdsearch.names import visible


@click.command()
@click.argument("study", default="digits")
@TRIALS
@FINALISTS
@study_values
@quiet
def run(study: str, quiet: bool, values: dict[str, Any]) -> None:
    """Search for the best student of STUDY.

    STUDY is the name of a shipped study, or a TOML file; digits if left out. The same command resumes an
    interrupted search; a larger --trials extends a finished one. After the search its best trials, the
    finalists, are trained again with several seeds each.

    \b
    kdsearch run
    kdsearch run fashion-mnist --trials 200 --workers 4
    kdsearch run food11 --data ~/food11
    kdsearch run my.toml --set training.epochs=20 --name longer
    """
    with watching(quiet) as watch:
        summary = api.run(study, values=values, watch=watch)
    show_summary(summary)


@click.command()
@click.argument("study", required=False)
@FINALISTS
@SEEDS
@EPOCHS
@place_values
@quiet
def finalize(study: str | None, quiet: bool, values: dict[str, Any]) -> None:
    """Train the finalists of STUDY, whose search is finished.

    'kdsearch run' does so by itself. This command does it later, or adds finalists or seeds; what is trained
    stays. Without STUDY it takes the only study, or the one that ran last.

    \b
    kdsearch finalize
    kdsearch finalize food11 --finalists 5 --seeds 8 --epochs 100 --data ~/food11
    """
    with watching(quiet) as watch:
        summary = api.finalize(study, values=values, watch=watch)
    show_summary(summary)


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
    with watching(quiet) as watch:
        summary, trained = api.train(recipe, values=values, test=test, watch=watch)
    show_summary(summary)
    show_trained(trained)


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
    with watching(quiet) as watch:
        summary = api.join(study, values=values, watch=watch)
    show_summary(summary)


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
    with watching(quiet) as watch:
        summary = api.create(study, values=values, watch=watch)
    show_created(summary)


@click.command()
@click.argument("study", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@storage
def status(study: str | None, as_json: bool, storage: str) -> None:
    """Show how far STUDY is.

    Without STUDY the command takes the only study, or the one that ran last.

    \b
    kdsearch status
    kdsearch status digits --json
    """
    standing = api.status(study, storage=storage)
    if as_json:
        click.echo(standing.model_dump_json())
    else:
        show_status(standing)


@click.command()
def studies() -> None:
    """List the studies that come with kdsearch."""

    show_studies(api.shipped_studies())


@click.command()
@click.argument("study")
@click.option("--yes", is_flag=True, help="Do not ask before removing.")
@click.option(
    "--force", is_flag=True, help="Remove the study even if processes work on it; they end with an error."
)
@storage
@tracking_uri
def delete(study: str, yes: bool, force: bool, storage: str, tracking_uri: str | None) -> None:
    """Remove STUDY from its database, and its checkpoints.

    The database loses the study's trials, epochs and weights; in MLflow its runs are marked deleted. The
    cache and exported files stay.
    """
    finished = api.status(study, storage=storage).finished
    if not yes:
        click.confirm(f"Remove study {study!r} with {finished} finished trials?", abort=True)
    for left in api.delete(study, storage=storage, tracking_uri=tracking_uri, force=force):
        click.echo(visible(left), err=True)
    click.echo(f"removed {visible(study)}")
