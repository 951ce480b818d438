from pathlib import Path

from kdsearch.data.walk import BROKEN, OTHER, PIPE, PassedOver, told

ROOT = Path("/data")


def phrases(reason, *names):
    return told([PassedOver(ROOT / name, reason) for name in names], ROOT)


def test_one_path_is_named_and_of_several_the_first():
    assert phrases(PIPE, "train/b.png") == ["1 named pipe (train/b.png)"]
    assert phrases(PIPE, "train/b.png", "train/a.png") == ["2 named pipes (train/a.png, ...)"]
    assert phrases(BROKEN, "a") == ["1 link that leads nowhere (a)"]
    assert phrases(BROKEN, "a", "b") == ["2 links that lead nowhere (a, ...)"]


def test_files_are_counted_by_suffix_the_most_frequent_first():
    assert phrases(OTHER, "a.txt", "b.TXT", "c.heic", "d") == [
        "4 files not named like an image (.txt 2, .heic 1, no suffix 1)"
    ]


def test_of_many_suffixes_the_most_frequent_are_named():
    names = [f"{number}.{number}" for number in range(9)]
    assert phrases(OTHER, *names) == ["9 files not named like an image (.0 1, .1 1, .2 1, .3 1, .4 1, ...)"]


def test_names_that_no_terminal_can_show_are_escaped():
    assert phrases(PIPE, "caf\udce9.png") == [r"1 named pipe (caf\udce9.png)"]
    assert phrases(OTHER, "a.\x1b[31m") == [r"1 file not named like an image (.\x1b[31m 1)"]


def test_each_reason_is_a_phrase():
    assert told([PassedOver(ROOT / "a", PIPE), PassedOver(ROOT / "b.txt", OTHER)], ROOT) == [
        "1 named pipe (a)",
        "1 file not named like an image (.txt 1)",
    ]
