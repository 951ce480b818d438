"""What is said of finalists before anything is trained."""

import pytest

from kdsearch.errors import StudyFileError, UsageError
from kdsearch.run.finalists import asked_finalists, check_finalists
from kdsearch.run.protocol import Request
from kdsearch.store.facts import study_facts


def said(request, study, stored=None):
    return list(check_finalists(request, study, stored))


def test_more_finalists_than_trials_are_refused(small):
    request = Request(study="small", values={"finalists.count": 9, "run.trials": 4})
    with pytest.raises(UsageError, match=r"finalists\.count = 9: more than the 4 trials that study 'small'"):
        said(request, small(finalists={"count": 9}))
    with pytest.raises(UsageError, match="more than the 100 trials"):
        said(Request(study="small"), small(finalists={"count": 101}))


def test_a_short_run_of_a_study_has_fewer(small):
    assert said(Request(study="small", values={"run.trials": 2}), small(finalists={"count": 3})) == []
    assert said(Request(study="small", values={"run.trials": 2}), small(finalists={"count": 8})) == []


def test_many_seeds_are_a_note(small):
    (line,) = said(Request(study="small"), small(finalists={"count": 2, "seeds": 30}))
    assert line.startswith("finalists.seeds = 30: 60 trainings after the search; more than 20 seeds hardly")


def test_finalize_wants_a_search_that_is_over_and_no_more_than_it_has(create, worker):
    study = create(2, finalists={"count": 0})
    request = Request(study="small", join=True, finalize=True, values={"finalists.count": 3})
    config = asked_finalists(request, study)
    assert (config.count, config.seeds) == (3, 3)
    bench = worker().bench
    wanted = bench.study.replace("finalists", config.model_dump())
    with pytest.raises(UsageError, match="study 'small' has 0 of its 2 trials; finish the search with"):
        said(request, wanted, study)
    worker().work()
    with pytest.raises(
        UsageError, match=r"finalists\.count = 3: study 'small' has 2 trials that were trained"
    ):
        said(request, wanted, study)
    assert said(request, wanted.replace("finalists.count", 2), study) == []
    assert study_facts(study).candidates == ()


def test_a_wrong_value_of_the_command_is_answered_in_one_line(create):
    request = Request(study="small", join=True, finalize=True, values={"finalists.seeds": 0})
    with pytest.raises(StudyFileError, match=r"finalize \[finalists\]: seeds = 0"):
        asked_finalists(request, create(2))
