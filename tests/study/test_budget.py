import pytest

from kdsearch.errors import UsageError
from kdsearch.study.budget import check_budget, fitting
from kdsearch.study.file import Study


def study(max_params=60_000, families=None, **student):
    tables = {"budget": {"max_params": max_params}, "student": student, "families": families or {}}
    return Study({"name": "mine", **tables}, "mine.toml")


def test_networks_that_do_not_fit_are_left_out_with_a_line_each():
    networks = ["searched", "s0-first", "mobilenet", "s4"]
    given = study(network=networks, stages=2, max_params=100_000)
    left, lines = fitting(given, 10, 28)
    assert left.student.possible("network") == ("searched", "s4")
    assert lines == [
        "network s0-first needs at least 72 x 72 px, not 28 x 28: left out",
        "network mobilenet has 256,522 parameters, more than 100,000: left out",
    ]
    assert check_budget(given, 10, 28) == lines
    assert fitting(left, 10, 28) == (left, [])


def test_a_single_network_that_does_not_fit_is_an_error():
    with pytest.raises(UsageError, match=r"none fits: network s4 has 98,954 parameters, more than 60,000"):
        check_budget(study(network="s4"), 10, 28)


def test_a_published_network_needs_no_family():
    assert study(network="s0-second", max_params=50_283).families == {}
    assert check_budget(study(network="s0-second", max_params=50_283), 11, 128) == []


def test_the_family_that_comes_closest_is_named_where_none_fits():
    given = study(family=["plain", "fire", "dwsep"], stages=4, max_params=100)
    with pytest.raises(UsageError, match=r"= 100: family '\w+' comes closest, at \d+ parameters"):
        check_budget(given, 10, 64)


def test_one_student_that_does_not_fit_is_an_error():
    given = study(family=["plain", "dwsep"], stages=4, max_params=20_000, families={"plain": {"kernel": 5}})
    with pytest.raises(UsageError, match=r"family 'plain' of depths \(3, 3, 3, 3\): at least"):
        check_budget(given, 10, 64)


def costly(max_macs, **student):
    tables = {"budget": {"max_params": 60_000, "max_macs": max_macs}, "student": student}
    return Study({"name": "mine", **tables}, "mine.toml")


def test_the_multiply_adds_of_the_smallest_student_are_named():
    with pytest.raises(
        UsageError, match=r"max_macs = 1,000: family '\w+' comes closest, at [\d,]+ multiply-adds"
    ):
        check_budget(costly(1_000), 10, 64)


def test_the_latest_halving_has_to_fit_too():
    late = costly(300_000, family="dwsep", stages=4, growth=1.2)
    with pytest.raises(UsageError, match=r"depths \(3, 3, 3, 3\): at least [\d,]+ multiply-adds, more than"):
        check_budget(late, 10, 64)
    early = costly(
        300_000, family="dwsep", stages=4, growth=1.2, stem_stride=2, full_stages=0, smallest_map=2
    )
    assert check_budget(early, 10, 64) == []


def test_a_published_network_that_costs_too_many_multiply_adds_is_left_out():
    left, lines = fitting(costly(1_000_000, network=["searched", "s0-first"]), 10, 128)
    assert left.student.possible("network") == ("searched",)
    assert lines == ["network s0-first has 44,407,160 multiply-adds, more than 1,000,000: left out"]
