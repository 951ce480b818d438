"""`kdsearch teacher`: train, import, evaluate or list teachers, without a search."""

from pathlib import Path
from typing import Any

import click

from kdsearch import api
from kdsearch.cli.display_progress import watching
from kdsearch.cli.display_teachers import show_reports, show_teachers
from kdsearch.cli.options import NAME, STUDY_STORAGE, quiet, teacher_values, together

which = click.option(
    "--teacher", metavar="NAME", help="Name of one teacher of STUDY; if left out: all, or the only one."
)
out = click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Safetensors file to write the weights to."
)
force = click.option("--force", is_flag=True, help="Replace the file if it exists.")
writing = together(which, out, force, teacher_values, quiet)


@click.group()
def teacher() -> None:
    """Train, import, evaluate or list teachers.

    A teacher is the larger network from which students learn.

    \b
    kdsearch teacher train digits
    kdsearch teacher import resnet18.ckpt food11 --data ~/food11
    kdsearch teacher evaluate digits
    kdsearch teacher list
    """


@teacher.command()
@click.argument("study")
@writing
def train(
    study: str, *, teacher: str | None, out: Path | None, force: bool, quiet: bool, values: dict[str, Any]
) -> None:
    """Train the teachers of STUDY and keep them in the cache.

    STUDY is the name of a shipped study, or a TOML file. The command creates no study. A study with the same
    teacher, images and seed reads the teacher from the cache. With --out a study file on any machine can name
    the file, as 'checkpoint' of its teacher.

    \b
    kdsearch teacher train fashion-mnist
    kdsearch teacher train food11 --data ~/food11 --out resnet18.safetensors
    """
    with watching(quiet) as watch:
        reports = api.train_teachers(
            study, values=values, teacher=teacher, out=out, force=force, progress=watch
        )
    show_reports(reports)


@teacher.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("study")
@writing
def import_(
    file: Path,
    study: str,
    *,
    teacher: str | None,
    out: Path | None,
    force: bool,
    quiet: bool,
    values: dict[str, Any],
) -> None:
    """Check that FILE holds a teacher for STUDY, and score it.

    FILE has the weights, in PyTorch's format or as safetensors. The command also copies them. The copy is a
    safetensors file beside FILE, unless --out names another. The command prints the lines for the study file.
    It runs no code in FILE.

    \b
    kdsearch teacher import resnet18.ckpt food11 --data ~/food11
    kdsearch teacher import vgg16.pt food11 --data ~/food11 --set teacher.model=vgg16_bn \\
        --set 'teacher.head=[4096, 1024, 128]'
    """
    with watching(quiet) as watch:
        report = api.import_teacher(
            file, study, values=values, teacher=teacher, out=out, force=force, progress=watch
        )
    show_reports([report])


@teacher.command()
@click.argument("study")
@which
@teacher_values
@NAME
@STUDY_STORAGE
@quiet
def evaluate(study: str, teacher: str | None, quiet: bool, values: dict[str, Any]) -> None:
    """Score the teachers of STUDY on its validation images; train nothing.

    The command reads each teacher from its checkpoint, else from the cache, else from the study's database.

    \b
    kdsearch teacher evaluate digits
    kdsearch teacher evaluate food11 --data ~/food11 --set teacher.checkpoint=resnet18.safetensors
    """
    with watching(quiet) as watch:
        reports = api.evaluate_teachers(study, values=values, teacher=teacher, progress=watch)
    show_reports(reports)


@teacher.command("list")
def list_() -> None:
    """List the networks that can be teachers, and the teachers in the cache.

    Those of timm are counted only: each can be a teacher as timm:NAME.

    \b
    kdsearch teacher list
    """
    show_teachers(api.list_teachers())
