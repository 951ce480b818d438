import os
import subprocess
import sys

import pytest

from kdsearch.errors import UsageError
from kdsearch.files import cache_root, check_writable, state_root


def test_the_environment_names_both_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KDSEARCH_STATE", str(tmp_path / "state"))
    assert (cache_root(), state_root()) == (tmp_path / "cache", tmp_path / "state")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user who has no home")
@pytest.mark.parametrize("root", ["cache_root", "state_root"])
def test_a_user_without_a_home_is_told_which_variables_to_set(root):
    code = (
        "from kdsearch import files; from kdsearch.errors import UsageError; import os; os.setuid(54321)\n"
        f"try: files.{root}()\nexcept UsageError as error: print(error)"
    )
    answer = subprocess.run([sys.executable, "-c", code], env={}, capture_output=True, text=True, check=True)
    assert "KDSEARCH_CACHE and KDSEARCH_STATE" in answer.stdout


def test_a_folder_that_can_be_written_to_is_made_and_left_empty(tmp_path):
    check_writable(tmp_path / "new" / "folder", "cure")
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_a_folder_below_a_file_is_one_line_with_the_cure(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match=r"cannot be written to \(Not a directory\); name another"):
        check_writable(tmp_path / "file" / "folder", "name another")
