import pytest

from kdsearch.api import Overrides
from kdsearch.cli.run import run
from kdsearch.study.file import load_study


@pytest.mark.parametrize(("words", "pruner"), [(["--no-prune"], "none"), ([], "median")])
def test_no_prune_trains_every_trial_to_its_end(words, pruner):
    given = run.make_context("run", words).params["pruner"]
    assert load_study("digits", Overrides(pruner=given).replaced()).search.pruner == pruner
