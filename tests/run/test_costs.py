"""How many SQL statements a trial costs: times depend on the machine, counts do not.

Where a bound is broken, a worker makes a new call of Optuna's storage or of the record. Make it once a trial
instead of once an epoch, or once a run instead of once a trial; `python benchmarks/storage.py --quick` prints
the statements by part. Where the call is worth it, raise the bound and say why in docs/log.md. Where there is
room below a bound, lower it.
"""

import threading

import pytest
from sqlalchemy import event

from kdsearch.store.facts import trial_facts

AN_EPOCH = 4  # a transaction's begin, the study's row, the trial's state, and the epoch's row
A_QUESTION = (
    3  # to the pruner: a begin and a count; once in four questions also which trials, and their curves
)
A_TRIAL = 197  # of 3 epochs and 14 parameters, which cost 6 statements each
ADVICE = "a worker makes a new call of the database: see the head of this file"


@pytest.fixture
def cost(create, worker, curves):
    """The statements of the third trial of a study of its own, and its parameters; not the heartbeat's."""

    def counted(epochs, pruner):
        name = f"{pruner}-{epochs}"
        study = create(2, name=name, training={"epochs": epochs}, search={"pruner": pruner})
        made, thread, heard = worker(name=name), threading.get_ident(), []
        made.work()
        for engine in (made.study._storage.engine, made.bench.record.engine):
            event.listen(
                engine,
                "before_cursor_execute",
                lambda *given: heard.append(given[2]) if threading.get_ident() == thread else None,
            )
        study.set_user_attr("target", 3)
        made.work()
        last = study.trials[-1]
        assert (last.number, len(curves(study)[trial_facts(last).run])) == (2, epochs)
        return len(heard), len(last.params)

    return counted


def test_an_epoch_costs_few_statements(cost):
    (short, _), (long, _), (asked, _) = cost(3, "none"), cost(8, "none"), cost(8, "median")
    assert (long - short) / 5 <= AN_EPOCH, ADVICE
    questions = 8 - 3 - 1  # after the warm-up, and not about the last epoch
    assert (asked - long) / questions <= A_QUESTION, ADVICE


def test_a_trial_costs_few_statements(cost):
    statements, parameters = cost(3, "median")
    assert parameters == 14
    assert statements <= A_TRIAL, ADVICE
