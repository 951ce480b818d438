"""A study from the text of a file."""

import pytest

from kdsearch.study.file import load_study


@pytest.fixture
def study(tmp_path):
    def load(text, **replaced):
        file = tmp_path / "mine.toml"
        file.write_text(text, encoding="utf-8")
        return load_study(str(file), replaced)

    return load
