"""The text of `student.py`: the winner as code that needs only torch, and a process that checks it."""

import inspect
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import indent

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kdsearch.errors import ExportError
from kdsearch.models.around import Residual, SqueezeExcitation
from kdsearch.models.families import FAMILIES
from kdsearch.models.measure import parameters_of
from kdsearch.models.published import PUBLISHED, PublishedConfig, PublishedNet
from kdsearch.models.student import ACTIVATIONS, Network, NetworkConfig, StudentNet

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


def student_source(config: NetworkConfig) -> str:
    """A module whose `StudentNet()` is the network of `config`.

    It holds the source of the classes and the config as literals. The skeleton is called Skeleton there,
    because StudentNet takes no arguments.
    """
    net: type[Network]
    blocks: list[type[nn.Module]] = []
    around: tuple[type[nn.Module], ...] = ()
    if isinstance(config, PublishedConfig):
        net, activation = PublishedNet, PUBLISHED[config.network].activation
    else:
        net, activation = StudentNet, ACTIVATIONS[config.activation]
        blocks, around = [FAMILIES[config.family].block], (SqueezeExcitation, Residual)
    layers = [*(block.__name__ for block in blocks), f"nn.{activation.__name__}"]
    head = f"class {net.__name__}(nn.Module):"
    skeleton = inspect.getsource(net)
    assert skeleton.startswith(head), "the skeleton is renamed by its first line"
    skeleton = skeleton.replace(head, "class Skeleton(nn.Module):", 1)
    imports = "import torch\nfrom torch import Tensor, nn\n"
    classes = (*map(inspect.getsource, (*blocks, *around)), skeleton, _student(config, layers))
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
            text = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
            last = text.splitlines()[-1].strip()
            raise ExportError(f"student.py with student.safetensors does not run with torch alone: {last}")
        return load_file(answered)["logits"]


def _docstring(config: NetworkConfig) -> str:
    return (
        f'"""The student that kdsearch found: {parameters_of(config):,} parameters, run by torch alone.\n\n'
        f"Its weights are in the same folder. To load them there:\n\n{indent(LOADING, '    ')}\n"
        "`config.json` says how an image becomes the input, and names the classes in the order of the "
        "logits.\n"
        '"""\n'
    )


def _student(config: NetworkConfig, layers: list[str]) -> str:
    named = [f"{name}={_literal(value)}" for name, value in config.arguments.items()]
    arguments = indent("".join(f"{argument},\n" for argument in (*layers, *named)), " " * 12)
    return (
        "class StudentNet(Skeleton):\n"
        f'    """The student: B x 3 x H x W in 0..1 to logits, B x {config.classes}."""\n\n'
        "    def __init__(self) -> None:\n"
        f"        super().__init__(\n{arguments}        )\n"
    )


def _literal(value: object, room: int = 88) -> str:
    """Python's literal, with strings in double quotes and each item of a long tuple on its own line."""
    if isinstance(value, str):
        return json.dumps(value)
    if not isinstance(value, tuple):
        return repr(value)
    items = [_literal(item, room - 4) for item in value]
    line = f"({', '.join(items)}{',' if len(items) == 1 else ''})"
    if len(line) <= room:
        return line
    return "(\n" + indent("".join(f"{item},\n" for item in items), "    ") + ")"
