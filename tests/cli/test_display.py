"""What the user sees, of made-up studies."""

import io
import json

import pytest
from rich.console import Console
from rich.progress import Progress

from kdsearch.cli.display_network import show_exported, show_trained
from kdsearch.cli.display_progress import COLUMNS, Bars, watching
from kdsearch.cli.display_run import show_summary
from kdsearch.cli.display_study import show_status, show_studies
from kdsearch.deliver.card import FinalTest
from kdsearch.deliver.export import Exported
from kdsearch.deliver.winner import Trained
from kdsearch.store.status import Audit, Ledger, PhaseStatus, Ranked, Status, Summary
from kdsearch.study.shipped import ShippedStudy
from kdsearch.tables import PublishedResult


def ranked(trial, accuracy, loss="kl"):
    return Ranked(
        trial=trial,
        accuracy=accuracy,
        val_loss=0.1,
        parameters=59_000 + trial,
        macs=1_500_000,
        family="dwsep",
        loss=loss,
    )


def summary(**changed):
    taught, alone = ranked(7, 0.95), ranked(3, 0.94, "ce")
    told = {
        "study": "digits",
        "storage": "sqlite:///kdsearch.db",
        "finished": 100,
        "target": 100,
        "complete": 60,
        "pruned": 40,
        "failed": 0,
        "validation_images": 288,
        "teacher": "resnet18",
        "teacher_accuracy": 0.99,
        "best": (taught, alone),
        "best_without_teacher": alone,
        "best_with_teacher": taught,
        "ledger": Ledger(answered=9_192, in_every_step=1_378_800),
        "audit": Audit(trials=0, wrong=0),
    }
    return Summary(**{**told, **changed})


LOADING = ('model = mlflow.pyfunc.load_model("models:/m-1")', "model.predict(images)")


@pytest.fixture
def shown(capsys):
    """What a display function prints on standard output."""

    def of(show, *told):
        show(*told)
        return capsys.readouterr().out

    return of


def test_the_summary_ranks_the_best_by_size_and_distance_to_the_teacher(shown):
    text = shown(show_summary, summary())
    assert "Study digits: 100 of 100 trials finished, 40 of them pruned\n" in text
    rows = [line for line in text.splitlines() if "dwsep" in line]
    assert [row.replace("│", " ").split() for row in rows] == [
        ["7", "95.00", "%", "-4.00", "59,007", "1,500,000", "dwsep", "kl"],
        ["3", "94.00", "%", "-5.00", "59,003", "1,500,000", "dwsep", "ce"],
    ]
    assert "One of the 288 validation images counts 0.35 points." in text
    assert "beats" not in text


@pytest.mark.parametrize(("trials", "told"), [(1, "1 weak trial"), (3, "3 weak trials")])
def test_the_summary_says_how_often_the_pruner_was_wrong(shown, trials, told):
    text = shown(show_summary, summary(audit=Audit(trials=trials, wrong=1)))
    assert f"Pruner audit: {told} trained to the end; 1 then beat the best trial of that time." in text
    assert "audit" not in shown(show_summary, summary())


def test_the_summary_says_plainly_that_distillation_did_not_help(shown):
    better = ranked(3, 0.97, "ce")
    text = shown(show_summary, summary(best=(better, ranked(7, 0.95)), best_without_teacher=better))
    assert "The best student without distillation beats the best with it by 2.00 points." in text


def test_the_summary_says_plainly_that_a_student_beats_the_teacher(shown):
    text = shown(show_summary, summary(teacher_accuracy=0.9))
    assert "The best student beats the teacher by 5.00 points" in text


def test_a_tie_beats_nobody(shown):
    equal = ranked(3, 0.95, "ce")
    told = summary(best=(ranked(7, 0.95), equal), best_without_teacher=equal, teacher_accuracy=0.95)
    assert "beats" not in shown(show_summary, told)


def test_a_study_without_a_complete_trial_has_a_summary_too(shown):
    told = summary(best=(), best_with_teacher=None, best_without_teacher=None, failed=2, notes=("a note",))
    text = shown(show_summary, told)
    assert "2 failed" in text
    assert "a note" in text
    assert "export-best" not in text


def test_the_time_is_shared_out_without_a_gap(shown):
    text = shown(
        show_summary, summary(seconds={"training": 60.0, "teacher": 30.0, "tiny": 0.1, "all": 100.0})
    )
    assert "Time 0:01:40: training 60.0%, teacher 30.0%, the rest 10.0%." in text


def test_what_goes_on_beside_the_run_is_none_of_its_time(shown):
    parts = {"training": 60.0, "teacher": 30.0, "all": 100.0}
    told = summary(seconds=parts, beside={"mirror": 2.0, "later views": 40.0}, overhead=4.5)
    text = shown(show_summary, told)
    beside = "in parallel: later views 40.0%, mirror 2.0%."
    assert f"Time 0:01:40: training 60.0%, teacher 30.0%, the rest 10.0%; {beside}" in text
    together = "sampling, storage, record, checkpoints and mirror together"
    assert f"The study itself takes 4.5%: {together}." in text


def test_the_next_step_names_a_storage_that_is_not_the_usual_one(shown):
    assert "Next: kdsearch export-best\n" in shown(show_summary, summary())
    elsewhere = summary(storage="postgresql+psycopg://me:secret@host/x", compare="kdsearch ui")
    text = shown(show_summary, elsewhere)
    for line in ("Compare the trials: kdsearch ui", "Next: kdsearch export-best"):
        assert f"{line} with this --storage\n" in text
    assert "secret" not in text


def status(**changed):
    told = {
        "study": "digits",
        "target": 100,
        "finished": 30,
        "complete": 20,
        "pruned": 10,
        "failed": 1,
        "compare": "kdsearch ui",
        "running": 2,
        "workers": 2,
        "best": ranked(7, 0.95),
        "per_hour": 1234.5,
        "seconds_left": 204.2,
    }
    return Status(**{**told, **changed})


def test_the_status_is_a_line_for_each_fact(shown):
    text = shown(show_status, status())
    for fact in ("30 of 100", "20, 10, 1", "2 trials, 2 workers", "trial 7: 95.00 %", "1,234", "0:03:24"):
        assert fact in text


def test_the_status_of_a_new_study_claims_nothing(shown):
    text = shown(show_status, status(best=None, per_hour=None, seconds_left=None))
    assert "none yet" in text
    assert "left" not in text


def test_the_status_has_a_line_for_each_phase_if_there_are_several(shown):
    assert "phase" not in shown(show_status, status())
    counts = {"target": 2, "finished": 1, "failed": 0, "running": 1}
    phases = PhaseStatus(phase="search", **counts, best=None), PhaseStatus(phase="again", **counts, best=0.5)
    lines = shown(show_status, status(phases=phases)).splitlines()
    assert [" ".join(line.replace("│", " ").split()) for line in lines if "phase" in line] == [
        "phase search 1 of 2 finished, 1 running",
        "phase again 1 of 2 finished, 1 running, best 50.00 %",
    ]


def test_a_status_is_json_for_programs():
    assert json.loads(status().model_dump_json())["best"]["trial"] == 7


def test_recipes_stand_apart_with_what_was_published(shown):
    ours = ShippedStudy(name="digits", description="scans", recipe="", result="")
    theirs = ShippedStudy(name="s0-first", description="students", recipe="S0", result="test 69.2 %")
    text = shown(show_studies, [ours, theirs])
    assert text.index("digits") < text.index("what it reproduces") < text.index("test 69.2 %")
    assert "students" not in text


def test_what_was_trained_stands_beside_what_was_published(shown):
    tested = FinalTest(accuracy=0.7, images=100, copies=0, read="2026-11-21")
    trained = Trained(
        parameters=50_283,
        validation_accuracy=0.71,
        test=tested,
        note="",
        published=PublishedResult(recipe="S0", result="test 69.2 %"),
    )
    lines = shown(show_trained, trained).splitlines()
    assert lines == [
        "Here: validation 71.00 %, test 70.00 %, 50,283 parameters",
        "Published: test 69.2 % (S0)",
    ]
    untested = trained.model_copy(update={"test": None, "note": "no labels.", "published": PublishedResult()})
    lines = shown(show_trained, untested).splitlines()
    assert lines == ["Here: validation 71.00 %, 50,283 parameters", "no labels."]


def test_the_ledger_tells_how_often_a_teacher_in_every_step_would_have_been_asked(shown):
    text = shown(show_summary, summary())
    line = "Teacher forward passes: 9,192 images (in every step it would be 1,378,800, 150.0 times as many)."
    assert line in text.splitlines()
    alone = summary(ledger=Ledger(answered=0, in_every_step=0))
    assert "forward passes" not in shown(show_summary, alone)


HOSTILE = "[bold]x[/bold] :cat: \x1b[31m\u202e\udce9\n"
SHOWN = r"[bold]x[/bold] :cat: \x1b[31m\u202e\udce9\n"


def test_no_text_from_outside_is_markup_or_moves_the_cursor(shown, capsys):
    best = ranked(7, 0.95, HOSTILE).model_copy(update={"family": HOSTILE})
    studies = [
        ShippedStudy(name=HOSTILE, description=HOSTILE, recipe=recipe, result="") for recipe in ("a", "")
    ]
    texts = {
        "summary": shown(show_summary, summary(study=HOSTILE, best=(best,), notes=(HOSTILE,))),
        "status": shown(show_status, status(study=HOSTILE, best=best)),
        "studies": shown(show_studies, studies),
    }
    with watching(quiet=False) as watch:
        watch.say(HOSTILE)
        watch.step(HOSTILE, 0, 1, HOSTILE)
    texts["progress"] = capsys.readouterr().err
    for where, text in texts.items():
        assert not {"\x1b", "\u202e", "\udce9"} & set(text), where
        assert "".join(SHOWN.split()) in "".join(text.split()), where


def test_the_lines_that_load_the_best_model_stand_where_it_is_in_mlflow(shown):
    told = {"study": "digits", "trial": 7, "paths": (), "parameters": 1, "validation_accuracy": 0.9}
    exported = {**told, "test": None, "notes": ()}
    lines = f"The best model in MLflow:\n  {LOADING[0]}\n  {LOADING[1]}\n"
    assert lines in shown(show_summary, summary(loading=LOADING))
    assert shown(show_exported, Exported(**exported, loading=LOADING)).endswith(lines)
    assert "MLflow" not in shown(show_summary, summary())
    assert "MLflow" not in shown(show_exported, Exported(**exported, loading=()))


def test_bars_take_no_text_for_markup():
    out = Console(file=io.StringIO(), force_terminal=True, width=200, height=20)
    watch = Bars(Progress(*COLUMNS, console=out))
    with watch.progress:
        watch.step(HOSTILE, 0, 1, HOSTILE)
        watch.say(HOSTILE)
    assert out.file.getvalue().count(SHOWN) >= 3
