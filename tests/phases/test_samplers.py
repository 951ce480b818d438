from typing import get_args

import pytest

from kdsearch.phases.samplers import PRUNERS, SAMPLERS
from kdsearch.tables import SearchConfig


@pytest.mark.parametrize(("key", "offered"), [("sampler", SAMPLERS), ("pruner", PRUNERS)])
def test_a_study_file_takes_the_names_that_are_offered_and_no_others(key, offered):
    assert set(get_args(SearchConfig.model_fields[key].annotation)) == set(offered)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_s_draws_depend_on_its_seed_alone(create, name):
    draws = []
    for seed in (2**62, 2**62, 5):
        study = create()
        study.sampler = SAMPLERS[name](seed)
        study._thread_local.in_optimize_loop = True
        draws.append(study.ask().suggest_float("x", 0, 1))
    assert draws[0] == draws[1] != draws[2]
