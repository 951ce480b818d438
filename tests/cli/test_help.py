import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from kdsearch.cli import main

HEAVY = {"torch", "torchvision", "mlflow", "optuna", "sklearn", "kornia", "onnx", "sqlalchemy", "matplotlib"}
LOADED = """
import json, sys
from kdsearch.cli import main
for arguments in json.loads(sys.argv[1]):
    try:
        main(arguments)
    except SystemExit as ended:
        assert not ended.code, (arguments, ended.code)
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def find(name):
    """The command of that name; `teacher train` is one below another."""
    command = main
    for word in name.split():
        command = command.commands[word]
    return command


NAMES = [
    *main.commands,
    *(f"{name} {below}" for name in main.commands for below in getattr(find(name), "commands", ())),
]


@pytest.mark.parametrize("name", [*NAMES, ""])
def test_each_command_explains_itself(name):
    told = CliRunner().invoke(main, [*name.split(), "--help"])
    assert told.exit_code == 0, told.output
    assert told.output.startswith("Usage:")
    missing = [
        parameter.name
        for parameter in find(name).params
        if parameter.param_type_name == "option" and not getattr(parameter, "help", None)
    ]
    assert missing == []


def test_help_and_the_list_of_studies_load_no_large_library():
    asked = [["--help"], ["--version"], ["studies"], *([*name.split(), "--help"] for name in NAMES)]
    command = [sys.executable, "-c", LOADED, json.dumps(asked)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    loaded = {module.partition(".")[0] for module in json.loads(told.stderr)}
    assert loaded & HEAVY == set()


def test_the_module_is_the_command():
    told = subprocess.run(
        [sys.executable, "-m", "kdsearch", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "kdsearch" in told.stdout
