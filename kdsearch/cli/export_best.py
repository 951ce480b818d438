"""`kdsearch export-best`: the winner, ready to use."""

from pathlib import Path

import click

from kdsearch.cli.options import quiet, storage


@click.command()
@click.argument("study", required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write to; best/STUDY if left out.")
@click.option("--force", is_flag=True, help="Replace an export that lies there.")
@click.option("--no-test", "test", flag_value=False, default=True, help="Leave the test split unread.")
@click.option("--data", metavar="PATH", help="Where the images lie, if not where they lay.")
@storage
@quiet
def export_best(
    study: str | None,
    *,
    out: Path | None,
    force: bool,
    test: bool,
    data: str | None,
    storage: str,
    quiet: bool,
) -> None:
    """Export the best student of STUDY: weights, plain PyTorch source, ONNX, configuration, model card.

    Each form is loaded back and compared with the trained student on real images before it is in its place.
    The test split is read now, once for each exported trial.

    \b
    kdsearch export-best
    kdsearch export-best digits --out winner --force
    """
    from kdsearch import api
    from kdsearch.cli.display import show_exported, watching

    with watching(quiet) as watch:
        exported = api.export_best(
            study, storage=storage, out=out, force=force, test=test, data=data, progress=watch
        )
    show_exported(exported)
