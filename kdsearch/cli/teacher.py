"""`kdsearch teacher`: teachers by themselves, without a search."""

from pathlib import Path
from typing import Any

import click

from kdsearch.cli.options import NAME, STUDY_STORAGE, quiet, teacher_values

which = click.option("--teacher", metavar="NAME", help="Which, where the study has several.")
out = click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write the weights there, as safetensors."
)
force = click.option("--force", is_flag=True, help="Replace a file that is there.")


@click.group()
def teacher() -> None:
    """Train, import, evaluate or list teachers.

    \b
    kdsearch teacher train digits
    kdsearch teacher import resnet18.ckpt food11 --data ~/food11
    kdsearch teacher evaluate digits
    kdsearch teacher list
    """


@teacher.command()
@click.argument("study")
@which
@out
@force
@teacher_values
@quiet
def train(
    study: str,
    *,
    teacher: str | None,
    out: Path | None,
    force: bool,
    quiet: bool,
    values: dict[str, Any],
) -> None:
    """Train the teachers of STUDY, a shipped name or a TOML file, into the cache; create no study.

    A study with the same teacher, images and seed takes it from there. --out writes a file that `checkpoint`
    in a study file names, on this machine or on another.

    \b
    kdsearch teacher train fashion-mnist
    kdsearch teacher train food11 --data ~/food11 --out resnet18.safetensors
    """
    from kdsearch import api
    from kdsearch.cli.display import watching
    from kdsearch.cli.display_teachers import show_reports

    with watching(quiet) as watch:
        reports = api.train_teachers(
            study, values=values, teacher=teacher, out=out, force=force, progress=watch
        )
    show_reports(reports)


@teacher.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("study")
@which
@out
@force
@teacher_values
@quiet
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
    """Check that FILE, weights of PyTorch or safetensors, is a teacher for STUDY; score it and copy it.

    The copy is a safetensors file, beside FILE if --out names no other. The lines for the study file are
    printed. No code in FILE is run.

    \b
    kdsearch teacher import resnet18.ckpt food11 --data ~/food11
    kdsearch teacher import vgg16.pt food11 --data ~/food11 --set teacher.model=vgg16_bn \\
        --set 'teacher.head=[4096, 1024, 128]'
    """
    from kdsearch import api
    from kdsearch.cli.display import watching
    from kdsearch.cli.display_teachers import show_reports

    with watching(quiet) as watch:
        report = api.import_teacher(
            file,
            study,
            values=values,
            teacher=teacher,
            out=out,
            force=force,
            progress=watch,
        )
    show_reports([report])


@teacher.command()
@click.argument("study")
@which
@teacher_values
@NAME
@STUDY_STORAGE
@quiet
def evaluate(
    study: str,
    teacher: str | None,
    quiet: bool,
    values: dict[str, Any],
) -> None:
    """Score the teachers of STUDY on its validation images; train nothing.

    Each is read from its checkpoint, else from the cache, else from the study's database.

    \b
    kdsearch teacher evaluate digits
    kdsearch teacher evaluate food11 --data ~/food11 --set teacher.checkpoint=resnet18.safetensors
    """
    from kdsearch import api
    from kdsearch.cli.display import watching
    from kdsearch.cli.display_teachers import show_reports

    with watching(quiet) as watch:
        reports = api.evaluate_teachers(study, values=values, teacher=teacher, progress=watch)
    show_reports(reports)


@teacher.command("list")
def list_() -> None:
    """List the networks of torchvision that can be teachers, and the teachers in the cache.

    \b
    kdsearch teacher list
    """
    from kdsearch import api
    from kdsearch.cli.display_teachers import show_teachers

    show_teachers(api.list_teachers())
