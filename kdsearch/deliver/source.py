"""The text of `student.py`: the winner as code that needs torch alone, and a process that proves it."""

import inspect
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import indent

from safetensors.torch import load_file, save_file
from torch import Tensor

from kdsearch.errors import ExportError
from kdsearch.models.count import parameters_of
from kdsearch.models.families import FAMILIES
from kdsearch.models.student import ACTIVATIONS, StudentConfig, StudentNet

LOADING = """\
from safetensors.torch import load_file
from student import StudentNet

student = StudentNet()
student.load_state_dict(load_file("student.safetensors"))
student.eval()
"""

# Runs in the folder of the export. The path comes first, since PYTHONSAFEPATH would leave the folder out.
ANSWERING = f"""\
import sys
sys.path.insert(0, "")
{LOADING}
import torch
from safetensors.torch import save_file
with torch.inference_mode():
    logits = student(load_file(sys.argv[1])["images"])
assert "kdsearch" not in sys.modules, "student.py imports kdsearch"
save_file({{"logits": logits}}, sys.argv[2])
"""


def student_source(config: StudentConfig) -> str:
    """A module whose `StudentNet()` is the network of `config`.

    It holds the classes' own source and the config as literals. The skeleton goes by the name of Skeleton
    there, because StudentNet takes no arguments.
    """
    block = FAMILIES[config.family].block
    skeleton = inspect.getsource(StudentNet)
    head = "class StudentNet(nn.Module):"
    assert skeleton.startswith(head), "the skeleton is renamed by its first line"
    skeleton = skeleton.replace(head, "class Skeleton(nn.Module):", 1)
    imports = "import torch\nfrom torch import Tensor, nn\n"
    classes = (inspect.getsource(block), skeleton, _student(config))
    return "\n\n".join(f"{text.rstrip()}\n" for text in (f"{_docstring(config)}\n{imports}", *classes))


def run_source(folder: Path, images: Tensor) -> Tensor:
    """The logits of `student.py` with `student.safetensors` of a folder, for N x 3 x H x W in 0..1.

    They are computed by another Python process, which fails if anything in it imports kdsearch. Raises
    ExportError with that process's last line.
    """
    with TemporaryDirectory() as temporary:
        asked, answered = Path(temporary, "images.safetensors"), Path(temporary, "logits.safetensors")
        save_file({"images": images.contiguous()}, asked)
        command = [sys.executable, "-B", "-c", ANSWERING, str(asked), str(answered)]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        if done.returncode != 0:
            last = (
                (done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}")
                .splitlines()[-1]
                .strip()
            )
            raise ExportError(f"student.py with student.safetensors does not run with torch alone: {last}")
        return load_file(answered)["logits"]


def _docstring(config: StudentConfig) -> str:
    return (
        f'"""The student that kdsearch found: {parameters_of(config):,} parameters, run by torch alone.\n\n'
        f"Its weights lie beside it. In their folder:\n\n{indent(LOADING, '    ')}\n"
        "`config.json` says how an image becomes the input, and names the classes in the order of the "
        "logits.\n"
        '"""\n'
    )


def _student(config: StudentConfig) -> str:
    block = FAMILIES[config.family].block.__name__
    activation = f"nn.{ACTIVATIONS[config.activation].__name__}"
    arguments = "".join(
        f"            {name}={_literal(value)},\n" for name, value in config.arguments.items()
    )
    return (
        "class StudentNet(Skeleton):\n"
        f'    """The student: B x 3 x H x W in 0..1 to logits, B x {config.classes}."""\n\n'
        "    def __init__(self) -> None:\n"
        f"        super().__init__(\n            {block},\n            {activation},\n{arguments}        )\n"
    )


def _literal(value: object) -> str:
    """Python's own notation, but strings in double quotes."""
    return json.dumps(value) if isinstance(value, str) else repr(value)
