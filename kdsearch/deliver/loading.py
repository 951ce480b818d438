"""Code that loads each form of an export, for the card; it runs in the folder of the export."""

from collections.abc import Callable, Collection

from kdsearch.deliver.student_source import LOADING


def loading(forms: Collection[str], image_size: int) -> str:
    """The section of the card; `safetensors` alone is what `kdsearch predict --with torch` reads."""
    shape = f"4, 3, {image_size}, {image_size}"
    codes = [CODES[form](shape) for form in ("source", "onnx", "pt2") if form in forms]
    if not codes:
        codes = ["`kdsearch predict --with torch` runs `config.json` with `student.safetensors`.\n"]
    return "## How to load it\n\n" + "\n".join(codes)


def _source(shape: str) -> str:
    return (
        "In this folder, with PyTorch and safetensors (`student.py` itself imports torch alone):\n\n"
        f"```python\nimport torch\n{LOADING}\nimages = torch.rand({shape})  # yours here\n"
        "with torch.inference_mode():\n    print(student(images).argmax(1))\n```\n"
    )


def _onnx(shape: str) -> str:
    return (
        "With ONNX Runtime, without PyTorch:\n\n```python\nimport numpy as np\nimport onnxruntime\n\n"
        'session = onnxruntime.InferenceSession("student.onnx")\n'
        f"images = np.random.rand({shape}).astype(np.float32)  # yours here\n"
        '(logits,) = session.run(["logits"], {"images": images})\nprint(logits.argmax(1))\n```\n'
    )


def _program(shape: str) -> str:
    return (
        "As a program of `torch.export`, with PyTorch alone; load such a file only from whom you trust:\n\n"
        '```python\nimport torch\n\nstudent = torch.export.load("student.pt2").module()\n'
        f"images = torch.rand({shape})  # yours here\nprint(student(images).argmax(1))\n```\n"
    )


CODES: dict[str, Callable[[str], str]] = {"source": _source, "onnx": _onnx, "pt2": _program}
