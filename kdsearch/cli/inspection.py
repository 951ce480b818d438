"""Look at a study's front, at a network, at the views of a study, at this machine's cache."""

from pathlib import Path
from typing import Literal

import click

from kdsearch import api
from kdsearch.cli.display_cache import show_cache, show_views, total
from kdsearch.cli.display_front import show_front
from kdsearch.cli.display_network import show_network
from kdsearch.cli.display_progress import watching
from kdsearch.cli.options import data, quiet, storage


@click.command()
@click.argument("study", required=False)
@click.option(
    "--by",
    type=click.Choice(["parameters", "macs"]),
    default="parameters",
    show_default=True,
    help="Size of a student: its parameters, or the multiply-adds for one image.",
)
@click.option(
    "--csv",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Table to write, of all complete trials; its column front says which are on the front.",
)
@click.option("--png", metavar="FILE", type=click.Path(path_type=Path), help="Picture to write.")
@click.option("--force", is_flag=True, help="Replace these files if they exist.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@storage
def front(
    study: str | None,
    *,
    by: Literal["parameters", "macs"],
    csv: Path | None,
    png: Path | None,
    force: bool,
    as_json: bool,
    storage: str,
) -> None:
    """Show the most accurate trials of STUDY for each size.

    The front has the complete trials that no smaller or equally large one beats. The command says how much
    one validation image counts, and marks the trials whose gain over a smaller one may be noise. Without
    STUDY it takes the only study, or the one that ran last.

    \b
    kdsearch front
    kdsearch front food11 --by macs --png front.png --csv front.csv
    """
    found = api.front(study, by=by, csv=csv, png=png, force=force, storage=storage)
    if as_json:
        click.echo(found.model_dump_json())
    else:
        show_front(found, *filter(None, (csv, png)))


@click.command()
@click.argument("what", metavar="TRIAL|NETWORK")
@click.argument("study", required=False)
@click.option(
    "--classes",
    type=click.IntRange(2),
    default=11,
    show_default=True,
    help="Number of classes for a published network.",
)
@click.option(
    "--image-size",
    type=click.IntRange(1, 1024),
    default=128,
    show_default=True,
    help="Side of the images for a published network, in pixels.",
)
@storage
def show(what: str, study: str | None, *, classes: int, image_size: int, storage: str) -> None:
    """Print a network layer by layer.

    For each layer the command prints shape, parameters and multiply-adds, at the end the memory. NETWORK is
    the name of a published network. TRIAL is the number of a trial in STUDY; without STUDY the only study, or
    the one that ran last. A trial has the classes and the image size of its study.

    \b
    kdsearch show 12
    kdsearch show s4 --classes 10 --image-size 28
    """
    show_network(api.show(what, study, storage=storage, classes=classes, image_size=image_size))


@click.command()
@click.argument("study", required=False)
@data
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="Device that made the views: auto, cpu, cuda, cuda:0, ...",
)
@storage
@quiet
def views(study: str | None, *, data: str | None, device: str, storage: str, quiet: bool) -> None:
    """List and check the views of STUDY on this machine.

    Views are augmented copies of the training set that all trials share. The command compares all views with
    their checksums, makes some rows of one view again and compares them. Without STUDY it takes the only
    study, or the one that ran last.

    \b
    kdsearch views
    kdsearch views food11 --data ~/food11
    """
    with watching(quiet) as watch:
        report = api.views(study, storage=storage, data=data, device=device, progress=watch)
    show_views(report)


@click.command()
@click.option(
    "--clear", is_flag=True, help="Remove each entry that no study in the database needs and no process uses."
)
@click.option("--yes", is_flag=True, help="Do not ask before removing.")
@storage
def cache(clear: bool, yes: bool, storage: str) -> None:
    """List this machine's cache, and which studies need it.

    If a study needs an entry that was removed, it makes the entry again.

    \b
    kdsearch cache
    kdsearch cache --clear
    """
    report = api.cache(storage=storage)
    if not clear:
        show_cache(report)
        return
    if not yes and report.unneeded:
        click.confirm(f"Remove {total(report.unneeded)} from {report.folder}?", abort=True)
    click.echo(f"removed {total(api.clear_cache(storage=storage))}")
