import json
import tomllib
from typing import get_args

import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from kdsearch.study.file import SPACES, Study


def numbers(low, high):
    """A value, a choice or a range of numbers."""
    one = st.integers(low, high) if isinstance(low, int) else st.floats(low, high)
    ends = st.tuples(one, one).filter(lambda pair: pair[0] < pair[1])
    ranges = ends.map(lambda pair: {"low": pair[0], "high": pair[1], "log": bool(pair[0] > 0)})
    return st.one_of(one, st.lists(one, min_size=1, max_size=4, unique=True), ranges)


def words(*allowed):
    """One of some words, or a choice among them."""
    return st.one_of(st.sampled_from(allowed), st.lists(st.sampled_from(allowed), min_size=1, unique=True))


def table(**fields):
    return st.fixed_dictionaries({}, optional=fields)


def literals(table_name, field):
    return words(*get_args(SPACES[table_name].model_fields[field].annotation))


TABLES = table(
    seed=st.integers(0, 2**31),
    description=st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])),
    teacher=table(epochs=st.integers(1, 50), learning_rate=st.floats(1e-5, 1.0)),
    augmentation=table(flip=st.booleans(), rotation=st.floats(0, 180)),
    data=table(image_size=st.integers(4, 300)),
    student=table(
        family=words("plain", "dwsep"),
        stages=numbers(1, 4),
        depth_1=numbers(1, 6),
        growth=numbers(1.0, 4.0),
        activation=literals("student", "activation"),
        fraction=numbers(0.25, 1.0),
    ),
    training=table(
        epochs=numbers(1, 90),
        learning_rate=numbers(1e-5, 1.0),
        weight_decay=numbers(0.0, 1.0),
        optimizer=literals("training", "optimizer"),
    ),
    distillation=table(loss=words("ce", "kl"), alpha=numbers(0.0, 1.0)),
)


@given(TABLES)
@settings(max_examples=60)
def test_a_resolved_study_read_back_is_the_same_study(tables):
    study = Study(tables, "mine.toml")
    again = Study(study.tables, "mine.toml")
    assert again.tables == study.tables
    assert again.parameters() == study.parameters()
    assert {n: s.searched for n, s in again.spaces.items()} == {
        n: s.searched for n, s in study.spaces.items()
    }


@given(TABLES)
@settings(max_examples=60)
def test_a_resolved_study_survives_json_and_toml(tables):
    study = Study(tables, "mine.toml")
    assert Study(json.loads(json.dumps(study.tables)), "mine.toml").tables == study.tables
    given_only = {
        name: {key: value for key, value in part.items() if value is not None}
        if isinstance(part, dict)
        else part
        for name, part in study.tables.items()
    }
    assert Study(tomllib.loads(tomli_w.dumps(given_only)), "mine.toml").tables == study.tables


def test_a_draw_fills_the_record():
    training = Study({"training": {"epochs": [3, 5]}}, "mine.toml").training
    drawn = training.make({"epochs": 5, "learning_rate": 0.01, "weight_decay": 0.1})
    assert (drawn.epochs, drawn.learning_rate, drawn.batch_size) == (5, 0.01, 64)
    assert training.is_integer("epochs")
    assert not training.is_integer("learning_rate")
