import math
from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from kdsearch.config import Choices, Range, Record, default_search


class Sample(Record):
    rate: Annotated[float, Field(gt=0), Range(1e-3, 1e-1, log=True)] = 1e-2
    size: Annotated[int, Choices.of(3, 5)] = 3
    name: str = "a"


def test_a_record_cannot_change():
    with pytest.raises(ValidationError, match="frozen"):
        Sample().rate = 2.0


def test_a_record_has_no_unknown_field():
    with pytest.raises(ValidationError, match="Extra inputs"):
        Sample(rat=2.0)


@pytest.mark.parametrize("rate", [0.1, 1 / 3, 5e-324, math.inf])
def test_a_record_survives_json(rate):
    assert Sample.model_validate_json(Sample(rate=rate).model_dump_json()) == Sample(rate=rate)


def test_what_is_not_a_number_survives_json():
    class Value(Record):
        value: float

    assert math.isnan(Value.model_validate_json(Value(value=math.nan).model_dump_json()).value)


def test_a_field_knows_what_it_is_searched_over():
    searched = {name: default_search(field) for name, field in Sample.model_fields.items()}
    assert searched == {"rate": Range(1e-3, 1e-1, log=True), "size": Choices((3, 5)), "name": None}


def test_ranges_and_choices_are_readable():
    assert str(Range(1e-3, 0.1, log=True)) == "0.001 to 0.1, log"
    assert str(Range(1, 20)) == "1 to 20"
    assert str(Choices.of("relu", "silu")) == "relu | silu"
