from math import prod

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kdsearch.config import default_search
from kdsearch.errors import UsageError
from kdsearch.models.families import FAMILIES
from kdsearch.models.measure import count_parameters, macs_of, parameters_of
from kdsearch.models.student import StudentConfig, build_student, strides_for
from kdsearch.models.width import GRAIN, solve_width

# All but those that need fewer parameters if two widths happen to be equal, as does a shortcut `conv`.
STEADY = tuple(
    name for name in FAMILIES if name not in {"shuffle", "xception", "convnext", "mixed", "recurrent"}
)


@st.composite
def configs(draw, families=tuple(FAMILIES), any_shortcut=True):
    family = draw(st.sampled_from(families))
    fields = FAMILIES[family].config.model_fields
    searched = {key: search for key, field in fields.items() if (search := default_search(field))}
    options = {key: draw(st.sampled_from(search.values)) for key, search in searched.items()}
    depths = draw(st.lists(st.integers(1, 3), min_size=1, max_size=5))
    return StudentConfig(
        family=family,
        options=options,
        width=draw(st.integers(1, 64)),
        growth=draw(st.floats(1, 2)),
        depths=tuple(depths),
        strides=strides_for(
            draw(st.sampled_from([8, 28, 32, 128])),
            len(depths),
            stem_stride=draw(st.integers(1, 2)),
            full_stages=draw(st.integers(0, 2)),
            smallest_map=draw(st.integers(2, 8)),
        ),
        stem=draw(st.sampled_from(["conv", "patches"])),
        excitation=draw(st.booleans()),
        shortcut=draw(st.sampled_from(["none", "identity", "pool", *(["conv"] if any_shortcut else [])])),
        head_expansion=draw(st.integers(0, 2)),
        downsampling=draw(st.sampled_from(["stride", "pool"])),
        activation=draw(st.sampled_from(["relu", "relu6", "hardswish", "silu"])),
        classes=draw(st.integers(2, 100)),
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
    )


@settings(max_examples=100, deadline=None)
@given(config=configs(), max_params=st.integers(5_000, 200_000), fraction=st.floats(0.5, 1))
def test_the_solved_student_fits_and_the_next_width_does_not(config, max_params, fraction):
    try:
        solved = solve_width(config, max_params, fraction)
    except UsageError:
        assert parameters_of(config.model_copy(update={"width": 1})) > fraction * max_params - 1
        return
    assert count_parameters(build_student(solved)) == parameters_of(solved) <= fraction * max_params
    wider = solved.model_copy(update={"width": solved.width + 1 / GRAIN})
    assert parameters_of(wider) > int(fraction * max_params)
    assert solved == config.model_copy(update={"width": solved.width})


@settings(max_examples=150, deadline=None)
@given(config=configs(STEADY, any_shortcut=False), more=st.integers(1, 20))
def test_a_wider_student_never_has_fewer_parameters(config, more):
    wider = config.model_copy(update={"width": config.width + more})
    assert all(ours <= theirs for ours, theirs in zip(config.widths, wider.widths, strict=True))
    assert parameters_of(config) <= parameters_of(wider)


@settings(max_examples=100, deadline=None)
@given(config=configs())
def test_the_published_budget_has_room_for_every_student_of_up_to_four_stages(config):
    assume(len(config.depths) <= 4)
    assert parameters_of(solve_width(config, 60_000, 0.5)) <= 30_000


@pytest.mark.parametrize("family", FAMILIES)
def test_a_budget_below_the_smallest_student_names_family_and_count(config, family):
    config = config.model_copy(update={"family": family, "options": {}})
    with pytest.raises(
        UsageError, match=rf"'{family}' of depths \(2, 1\): at least \d+ parameters, more than 9;"
    ):
        solve_width(config, 10, 0.9)


def test_a_budget_that_is_met_exactly_is_used_up(config):
    exact = parameters_of(config)
    assert parameters_of(solve_width(config.model_copy(update={"width": 1}), exact)) == exact
    assert solve_width(config, exact - 1).width < config.width


def test_a_small_stem_does_not_waste_the_budget(config):
    """A whole channel more in the stem would be eight in the third stage."""
    narrow = config.model_copy(update={"depths": (1, 1, 1), "strides": (1, 1, 2, 2), "growth": 2.0})
    assert parameters_of(solve_width(narrow, 10_000)) > 9_500


@settings(max_examples=60, deadline=None)
@given(config=configs(), max_macs=st.integers(100_000, 20_000_000))
def test_the_solved_student_costs_no_more_multiply_adds_than_allowed(config, max_macs):
    image_size = 2 * prod(config.strides) + 3
    fewest = macs_of(config.model_copy(update={"width": 1}), image_size)
    if fewest > max_macs:
        with pytest.raises(UsageError, match=f"at least {fewest:,} multiply-adds"):
            solve_width(config, 200_000, max_macs=max_macs, image_size=image_size)
        return
    solved = solve_width(config, 200_000, max_macs=max_macs, image_size=image_size)
    free = solve_width(config, 200_000)
    wider = solved.model_copy(update={"width": solved.width + 1 / GRAIN})
    assert macs_of(solved, image_size) <= max_macs
    assert solved == free or (solved.width < free.width and macs_of(wider, image_size) > max_macs)
