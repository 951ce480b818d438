"""Export a student."""

from pathlib import Path
from typing import Any

import click

from kdsearch import api
from kdsearch.cli.display_network import show_exported
from kdsearch.cli.display_progress import watching
from kdsearch.cli.options import data, quiet, storage, tracking_uri


@click.command()
@click.argument("study", required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write to; if left out: best/STUDY.")
@click.option(
    "--form",
    "forms",
    type=click.Choice(["safetensors", "source", "onnx", "pt2", "int8"]),
    multiple=True,
    help="Only this form; may be given several times. source brings its weights, safetensors.",
)
@click.option("--trial", type=click.IntRange(0), help="Number of the trial to export, instead of the best.")
@click.option("--max-params", type=click.IntRange(1), help="Export the best with so many parameters at most.")
@click.option(
    "--max-macs", type=click.IntRange(1), help="Export the best with so many multiply-adds an image at most."
)
@click.option("--force", is_flag=True, help="Replace the files of an export in that folder.")
@click.option("--no-test", "test", flag_value=False, default=True, help="Do not read the test split.")
@click.option(
    "--register",
    metavar="NAME",
    help="Also make it a version of this model in MLflow's registry, with the alias champion.",
)
@data
@storage
@tracking_uri
@quiet
def export_best(
    study: str | None,
    *,
    register: str | None,
    storage: str,
    tracking_uri: str | None,
    quiet: bool,
    **given: Any,
) -> None:
    """Export the best student: weights, source, ONNX, model card.

    The forms: safetensors; source, plain PyTorch; onnx; pt2, a program of torch.export; int8, ONNX with
    weights of 8 bits. The configuration is
    JSON; the card has the accuracies, each class's too, and how long an image takes here. The command loads
    each form back and compares it with the trained student on real images before it puts the files in place.
    It reads the test split, once for each exported trial. If the study flips its training images, it shows
    the accuracies with mirrored views as well. Without STUDY it takes the only study, or the one that ran
    last.

    \b
    kdsearch export-best
    kdsearch export-best digits --out winner --force
    kdsearch export-best food11 --max-params 30000 --form onnx
    kdsearch export-best food11 --trial 12 --out trial-12 --register food-small
    """
    wanted = api.Wanted(**{name: given.pop(name) for name in api.Wanted.model_fields})
    if register is not None:
        api.check_registered_name(register)
    with watching(quiet) as watch:
        exported = api.export_best(study, wanted=wanted, storage=storage, progress=watch, **given)
    show_exported(exported)
    if register is not None:
        with watching(quiet) as watch:
            where, uri = exported.study, tracking_uri
            api.register(register, where, wanted=wanted, storage=storage, tracking_uri=uri, progress=watch)
