"""What README and docs say is what the code does."""

import json
import re
import shlex
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

import kdsearch
from kdsearch.cli import main
from kdsearch.cli.options import parse_setting
from kdsearch.config import Choices, default_search
from kdsearch.distill import LOSSES
from kdsearch.errors import StudyFileError
from kdsearch.models.families import FAMILIES
from kdsearch.study.file import HEAD, SETTINGS, SPACES, load_study

PACKAGE = Path(kdsearch.__file__).parent
PROJECT = PACKAGE.parent
PAGES = {
    path.name: path.read_text(encoding="utf-8")
    for path in [PROJECT / "README.md", *PROJECT.glob("docs/*.md")]
}
REFERENCE = PAGES["study-files.md"]
RECORDS = {
    **SETTINGS,
    **SPACES,
    **{f"families.{name}": family.config for name, family in FAMILIES.items()},
    **{f"losses.{name}": loss.Config for name, loss in LOSSES.items()},
}
WORDS = {int: "integer", float: "number", str: "text", bool: "true or false"}
BOUNDS = {Ge: ("ge", ">="), Gt: ("gt", ">"), Le: ("le", "<="), Lt: ("lt", "<")}


def code(value: Any) -> str:
    return f"`{json.dumps(value)}`"


def allowed(field: FieldInfo) -> str:
    kinds = [kind for kind in get_args(field.annotation) or (field.annotation,) if kind is not NoneType]
    if get_origin(field.annotation) is Literal:
        return ", ".join(map(code, kinds))
    if get_origin(field.annotation) is tuple:
        return "list of integers >= 1"
    bounds = [
        f"{sign} {getattr(mark, name):g}"
        for mark in field.metadata
        for kind, (name, sign) in BOUNDS.items()
        if isinstance(mark, kind)
    ]
    return " ".join([", ".join(WORDS[kind] for kind in kinds), *([", ".join(bounds)] if bounds else [])])


def default(field: FieldInfo) -> str:
    return "-" if field.default is None else code(field.default)


def searched(field: FieldInfo) -> str:
    found = default_search(field)
    if isinstance(found, Choices):
        return ", ".join(map(code, found.values))
    return "no" if found is None else str(found)


def rows(page: str, heading: str) -> list[list[str]]:
    """The first table below a heading, without its head."""
    _, found, below = page.partition(f"\n{heading}\n")
    assert found, f"no heading {heading}"
    lines = below.split("\n#")[0].splitlines()
    table = [line for line in lines if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[2:]]


@pytest.mark.parametrize("table", RECORDS)
def test_every_field_stands_in_the_reference_with_bounds_default_and_range(table):
    fields = RECORDS[table].model_fields
    found = [row[:-1] for row in rows(REFERENCE, f"### [{table}]")]
    expected = [[f"`{name}`", allowed(field), default(field)] for name, field in fields.items()]
    if table not in SETTINGS:
        expected = [[*row, searched(field)] for row, field in zip(expected, fields.values(), strict=True)]
    assert found == expected


def test_the_reference_has_no_table_that_is_gone():
    assert set(re.findall(r"^### \[(.+)\]$", REFERENCE, re.MULTILINE)) == set(RECORDS)
    assert [row[0].strip("`") for row in rows(REFERENCE, "## The top of the file")] == list(HEAD)


def blocks(language):
    """Fenced blocks of that language, by page and number."""
    for name, page in PAGES.items():
        for number, block in enumerate(re.findall(rf"^```{language}\n(.*?)^```", page, re.M | re.S)):
            yield pytest.param(block, id=f"{name}-{number}")


@pytest.mark.parametrize("text", list(blocks("toml")))
def test_each_study_file_of_the_docs_is_one(text, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    assert load_study(str(path), {}).name == "mine"


@pytest.mark.parametrize(("setting", "answer"), [row[:2] for row in rows(REFERENCE, "## Mistakes")])
def test_each_mistake_is_answered_as_the_docs_say(setting, answer):
    with pytest.raises(StudyFileError) as error:
        load_study("digits", dict([parse_setting(setting.strip("`"))]))
    assert answer == f"`{error.value}`"


def commands(text):
    """What follows `kdsearch` in a page's code: shell blocks, blocks of no language, and code in prose."""
    fenced = re.findall(r"^```(?:|sh|bash|console)\n(.*?)^```", text, re.M | re.S)
    lines = [line for block in fenced for line in block.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    for piece in [*lines, *re.findall(r"`([^`\n]+)`", prose)]:
        for command in re.split(r"&&|\|\s|;", piece):
            if asked := re.match(r"\s*(?:\$ )?(?:[A-Z_]+=\S+ )*kdsearch (.+)", command):
                yield shlex.split(asked[1], comments=True)


BELOW = {
    f"{name} {word}": command
    for name, group in main.commands.items()
    for word, command in getattr(group, "commands", {}).items()
}
COMMANDS = {**main.commands, **BELOW}
HELP = {name: command.help or "" for name, command in {**COMMANDS, "kdsearch": main}.items()}
WRITTEN = [
    pytest.param(words, id=f"{page}: {' '.join(words)}")
    for page, text in {**PAGES, **{name: f"```\n{text}\n```" for name, text in HELP.items()}}.items()
    for words in commands(text)
]


def test_the_docs_name_commands():
    assert len(WRITTEN) > 20


@pytest.mark.parametrize("words", WRITTEN)
def test_each_command_of_the_docs_exists_with_its_options(words):
    if words[0].startswith("-"):
        assert words[0] in {"--help", "-h", "--version"}
        return
    assert words[0] in main.commands or words[0].isupper()
    command = COMMANDS.get(" ".join(words[:2]), COMMANDS.get(words[0]))
    if command:
        known = {option for parameter in command.params for option in parameter.opts}
        given = {word.partition("=")[0] for word in words[1:] if word.startswith("-") and word != "-"}
        assert given <= known | {"--help", "-h"}


def test_every_command_stands_in_the_docs():
    named = {
        name for parameter in WRITTEN for name in (parameter.values[0][0], " ".join(parameter.values[0][:2]))
    }
    assert COMMANDS.keys() - named == set()


def test_the_readme_names_every_environment_variable():
    used = {
        name
        for path in [*PACKAGE.rglob("*.py"), *PROJECT.glob("tests/**/conftest.py")]
        for name in re.findall(r"\bKDSEARCH_[A-Z_]+\b", path.read_text(encoding="utf-8"))
    }
    told = {row[0].strip("`") for row in rows(PAGES["README.md"], "## Environment variables")}
    assert told == used | {"KDSEARCH_TEST_DATA", "MLFLOW_TRACKING_URI"}


def test_links_lead_somewhere():
    broken = [
        (name, link)
        for name, page in PAGES.items()
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page)
        if "://" not in link and not (PROJECT / ("" if name == "README.md" else "docs") / link).exists()
    ]
    assert broken == []


@pytest.mark.parametrize("shipped", sorted(path.stem for path in PROJECT.glob("studies/*.toml")))
def test_shipped_studies_stand_in_the_data_page(shipped):
    assert f"`{shipped}`" in PAGES["data.md"]


def test_the_page_on_gpus_names_every_test_that_needs_one_and_no_other():
    source = (PROJECT / "tests" / "engine" / "test_cuda.py").read_text(encoding="utf-8")
    tests = set(re.findall(r"^def (test_\w+)", source, re.MULTILINE))
    assert tests == set(re.findall(r"`(test_\w+)`", PAGES["gpu.md"]))
