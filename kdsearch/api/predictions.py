"""What an exported student says of image files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from kdsearch.progress import Progress, Silence

if TYPE_CHECKING:
    from kdsearch.deliver.onnx_runtime import Answer
    from kdsearch.deliver.predict import Predicted


def predict(
    export: Path,
    images: Path,
    out: Path | TextIO,
    *,
    runtime: Literal["onnx", "int8", "torch"] = "onnx",
    mirrored: bool = False,
    force: bool = False,
    progress: Progress | None = None,
    **columns: Any,
) -> "Predicted":
    """Writes what the student in the folder `export` says of a file, or of all images in a folder, as CSV.

    `columns` are fields of `deliver.columns.Columns`: `id`, `names`, `top`, `probabilities`. `mirrored` takes
    the mean of the probabilities of an image and of its mirror image. A file that cannot be read is counted,
    and its row says so. Only the runtime `torch` loads torch. Raises UsageError or DataError before anything
    is predicted, KdsearchError if `out` cannot be written then.
    """
    from kdsearch.deliver.columns import Columns
    from kdsearch.deliver.described import read_config
    from kdsearch.deliver.predict import Student
    from kdsearch.deliver.predict import predict as predicted

    student = Student(read_config(export), _opened(export, runtime))
    student.check(export)
    return predicted(
        student,
        images,
        out,
        progress or Silence(),
        columns=Columns(**columns),
        mirrored=mirrored,
        force=force,
    )


def _opened(export: Path, runtime: str) -> "Answer":
    from kdsearch.errors import ExportError, UsageError

    try:
        if runtime == "torch":
            from kdsearch.deliver.forms import open_torch

            return open_torch(export)
        from kdsearch.deliver.onnx_runtime import NETWORKS, open_onnx

        path = export / NETWORKS[runtime]
        if not path.is_file():
            raise UsageError(f"{path}: no such file; export again, or use another --with")
        return open_onnx(path)
    except ExportError as error:
        raise UsageError(f"{export}: {error}; export again") from error
