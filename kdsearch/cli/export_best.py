"""`kdsearch export-best`: write the best student as files that need no kdsearch."""

from pathlib import Path

import click

from kdsearch.cli.options import quiet, storage


@click.command()
@click.argument("study", required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write to; if left out: best/STUDY.")
@click.option("--force", is_flag=True, help="Replace the files of an export in that folder.")
@click.option("--no-test", "test", flag_value=False, default=True, help="Do not read the test split.")
@click.option(
    "--data", metavar="PATH", help="Folder with the images, if it moved since the study was created."
)
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
    """Export the best student: weights, source, ONNX, model card.

    The source is plain PyTorch, and the configuration is JSON. The command loads each form back and compares
    it with the trained student on real images before it puts the files in place. It reads the test split,
    once for each exported trial. Without STUDY it takes the only study, or the one that ran last.

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
