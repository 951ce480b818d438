import subprocess
import sys
import tomllib
from pathlib import Path

import kdsearch

PACKAGE = Path(kdsearch.__file__).parent
PROJECT = PACKAGE.parent


def test_every_folder_is_listed_as_a_package():
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {path.parent.relative_to(PROJECT).as_posix() for path in PACKAGE.rglob("*.py")}
    on_disk = {folder.replace("/", ".") for folder in folders} | {"kdsearch.studies"}
    assert set(settings["packages"]) == on_disk
    assert settings["packages"] == sorted(settings["packages"])
    assert (PROJECT / settings["package-dir"]["kdsearch.studies"] / "__init__.py").is_file()


def test_shipped_studies_are_found_from_a_folder_with_studies_of_its_own(tmp_path):
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "mine.toml").write_text('description = "not shipped"\n', encoding="utf-8")
    told = subprocess.run(
        [sys.executable, "-m", "kdsearch", "studies"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    shipped = [path.stem for path in (PROJECT / "studies").glob("*.toml")]
    assert "digits" in shipped
    assert [name for name in shipped if name not in told] == []
    assert "not shipped" not in told
