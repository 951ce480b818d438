import optuna
import pytest

from kdsearch.data.image_set import SearchSets
from kdsearch.errors import IdentityError, UsageError
from kdsearch.run.creating import create_study, data_facts
from kdsearch.store import identity
from kdsearch.store.storage import open_storage
from kdsearch.store.studies import choose_study
from kdsearch.tables import RunConfig


@pytest.fixture
def facts(data):
    return data_facts("digits", SearchSets.open(data))


@pytest.fixture
def new(url, small, facts):
    return lambda: create_study(open_storage(url, create=True), small(), facts, 2)


def test_a_study_is_read_back_as_it_was_created(create, small):
    assert identity.identity_of(identity.stored_study(create())) == identity.identity_of(small())


def test_the_same_settings_pass(create, small):
    identity.check_settings(create(), small())


@pytest.mark.parametrize(
    "tables",
    [
        {"run": {"workers": "3", "trials": 7, "device": "cpu"}},
        {"data": {"path": "elsewhere"}},
        {"teacher": {"checkpoint": "teacher.pt"}},
        {"finalists": {"count": 7, "seeds": 2, "epochs": 9, "prefer": "small"}},
    ],
    ids=["run", "path", "checkpoint", "finalists"],
)
def test_what_may_differ_between_two_runs_passes(create, small, tables):
    identity.check_settings(create(), small(**tables))


def test_each_teacher_s_checkpoint_may_differ_and_nothing_else_of_it(create, small):
    found = create(teachers={"a": {}, "b": {}})
    identity.check_settings(found, small(teachers={"a": {"checkpoint": "a.pt"}, "b": {}}))
    with pytest.raises(IdentityError, match=r"teachers\.a\.epochs \(30 before, 9 now\)"):
        identity.check_settings(found, small(teachers={"a": {"epochs": 9}, "b": {}}))


def without_source(found):
    """The study as an earlier version stored it, which cut crops from images of the student's size."""
    stored = found.user_attrs["study"]
    del stored["data"]["source_size"]
    found.set_user_attr("study", stored)
    return found


def test_a_study_without_a_source_size_goes_on_with_the_images_that_it_had(create, small):
    folder = {"data": {"name": "folder", "path": "photos", "image_size": 64}}
    found = without_source(create(**folder))
    assert identity.stored_study(found).data.source_size == 64
    again = identity.continued(found, small(**folder))
    assert again.data.source_size == 64
    identity.check_settings(found, again)
    larger = small(data={**folder["data"], "source_size": 128})
    with pytest.raises(IdentityError, match=r"data\.source_size \(64 before, 128 now\)"):
        identity.check_settings(found, identity.continued(found, larger))


def test_a_new_study_keeps_the_source_that_fits(create, small):
    folder = {"data": {"name": "folder", "path": "photos", "image_size": 64}}
    found = create(**folder)
    assert identity.stored_study(found).data.source_size is None
    assert identity.continued(found, small(**folder)).data.source_size is None


def test_a_key_that_a_study_was_created_without_has_its_default(create, small):
    found = create()
    stored = found.user_attrs["study"]
    del stored["search"]["audit"]
    found.set_user_attr("study", stored)
    identity.check_settings(found, small())
    with pytest.raises(IdentityError, match=r"search\.audit \(0\.05 before, 0\.5 now\)"):
        identity.check_settings(found, small(search={"audit": 0.5}))


def test_other_settings_are_refused_with_the_changed_keys_and_the_ways_out(create, small):
    other = small(
        training={"epochs": 9}, budget={"max_params": 500}, student={"growth": {"low": 1.5, "high": 2}}
    )
    with pytest.raises(IdentityError) as refusal:
        identity.check_settings(create(), other)
    text = str(refusal.value)
    assert "training.epochs (3 before, 9 now)" in text
    assert "budget.max_params (3000 before, 500 now)" in text
    assert "student.growth (1.2 to 2.4 before, 1.5 to 2 now)" in text
    assert "--name" in text
    assert "kdsearch delete small" in text
    assert refusal.value.exit_code == 2


def test_other_images_are_refused(create, facts):
    found = create()
    identity.check_data(found, "small", facts.fingerprint)
    with pytest.raises(IdentityError, match="images"):
        identity.check_data(found, "small", "another")


def test_a_study_whose_creator_died_is_created_again_with_what_holds_now(url, small, facts):
    storage = open_storage(url, create=True)
    half = optuna.create_study(study_name="small", storage=storage, direction="maximize")
    half.set_user_attr("data", {"fingerprint": "another"})
    half.set_user_attr("views", 2)
    with pytest.raises(UsageError, match="no study 'small' here"):
        identity.open_study(storage, "small")
    identity.check_settings(half, small())
    identity.check_data(half, "small", facts.fingerprint)
    found = create_study(storage, small(training={"epochs": 9}), facts, 5)
    assert (found.user_attrs["views"], identity.stored_study(found).max_epochs) == (5, 9)


def foreign(storage, kind):
    """A study of another program, under the name that ours would have."""
    directions = {"two directions": ["maximize", "minimize"], "minimize": ["minimize"]}.get(
        kind, ["maximize"]
    )
    made = optuna.create_study(study_name="small", storage=storage, directions=directions)
    if kind == "trials":
        made.add_trial(optuna.trial.create_trial(value=0.25))
    if kind in ("attributes", "named as ours"):
        made.set_user_attr({"attributes": "author", "named as ours": "study"}[kind], "somebody")
        made.add_trial(optuna.trial.create_trial(value=0.25))
    return made


@pytest.mark.parametrize("kind", ["minimize", "two directions", "trials", "attributes", "named as ours"])
def test_a_study_of_another_program_is_refused_and_left_as_it_is(url, small, facts, kind):
    storage = open_storage(url, create=True)
    theirs = foreign(storage, kind)
    before = dict(theirs.user_attrs), len(theirs.trials)
    for meet in (
        lambda: identity.check_settings(theirs, small()),
        lambda: create_study(storage, small(), facts, 2),
    ):
        with pytest.raises(IdentityError, match=r"'small' in this database was not created by kds.*--name"):
            meet()
    assert (dict(theirs.user_attrs), len(theirs.trials)) == before
    with pytest.raises(UsageError, match="no study"):
        choose_study(storage, None)


def test_the_creator_s_mark_comes_first(new):
    with new()._storage.engine.begin() as connection:
        query = "SELECT key FROM study_user_attributes ORDER BY study_user_attribute_id"
        written = list(connection.exec_driver_sql(query).scalars())
    assert written[0] == "kdsearch"
    assert written[-1] == "study"


@pytest.mark.parametrize(
    ("given", "default", "expected"),
    [(None, RunConfig().trials, 100), (None, 50, 50), (7, 50, 7)],
    ids=["none", "file", "given"],
)
def test_a_new_study_s_target(new, given, default, expected):
    found = new()
    assert identity.settle_target(found, given, 0, default) == expected
    assert found.user_attrs["target"] == expected


@pytest.mark.parametrize(
    ("given", "finished", "target", "stored"),
    [(None, 3, 10, 10), (20, 10, 20, 20), (5, 3, 5, 5), (2, 3, 3, 3), (3, 3, 3, 3), (None, 10, 10, 10)],
    ids=["left out", "extends", "lowers", "below what is finished", "exactly", "finished"],
)
def test_the_target_of_a_study_that_exists(create, given, finished, target, stored):
    found = create(10)
    assert identity.settle_target(found, given, finished, 50) == target
    assert found.user_attrs["target"] == stored


def test_a_study_remembers_which_teachers_came_from_files(url, small, facts):
    study = small(teacher={"checkpoint": "teacher.pt"})
    found = create_study(open_storage(url, create=True), study, facts, 2)
    assert found.user_attrs["given_teachers"] == ["teacher"]
    assert identity.stored_study(found).teachers["teacher"].checkpoint is None
