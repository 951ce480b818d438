"""What a user does wrong: one line, an exit code, no traceback."""

import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from click.testing import CliRunner

from kdsearch.cli import main
from kdsearch.run.creating import create_study
from kdsearch.store import identity
from kdsearch.store.facts import DataFacts, keep
from kdsearch.store.storage import open_storage
from kdsearch.study.file import Study, load_study

TOO_SMALL = "--set", "teacher.model=mobilenet_v3_small", "--set", "budget.max_params=2000000"
UNREACHABLE = "postgresql+psycopg://me:secret@127.0.0.1:1/x"


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture(scope="module", autouse=True)
def quiet_optuna():
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)


@pytest.fixture
def untrained(tmp_path):
    """The URL of a database with a study that has no finished trial."""
    url = f"sqlite:///{tmp_path / 'untrained.db'}"
    keep(create(url, load_study("digits", {})), target=5)
    return url


def create(url, study):
    facts = DataFacts(
        name="digits",
        fingerprint="f",
        train=1149,
        validation=288,
        classes=("0", "1"),
        image_size=8,
        channels=1,
    )
    return create_study(open_storage(url, create=True), study, facts, views=1)


def told(*arguments):
    """Exit code and the error lines of a command in this process."""
    done = CliRunner().invoke(main, arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stderr.splitlines()


@pytest.fixture(scope="module")
def here_in_processes(tmp_path_factory):
    return tmp_path_factory.mktemp("here")


@pytest.fixture(scope="module")
def told_in_processes(here_in_processes):
    """The same for commands that start processes of their own, none of whose errors may get through."""
    asked = [
        ("run", "digts"),
        ("run", "fashion-mnist", "--data", "nowhere"),
        ("run", *TOO_SMALL),
        ("worker", "digits", "--workers", "abc"),
    ]
    started = {
        arguments: subprocess.Popen(
            [sys.executable, "-m", "kdsearch", *arguments],
            cwd=here_in_processes,
            stderr=subprocess.PIPE,
            text=True,
        )
        for arguments in asked
    }
    errors = {arguments: process.communicate(timeout=100)[1] for arguments, process in started.items()}
    return {
        arguments: (process.returncode, errors[arguments].splitlines())
        for arguments, process in started.items()
    }


def test_an_unknown_study_is_answered_with_the_nearest_names(told_in_processes):
    code, lines = told_in_processes["run", "digts"]
    assert code == 2
    assert len(lines) == 1, lines
    assert lines[0].startswith("Error: digts: no shipped study; known, nearest first: digits")


def test_a_data_folder_that_is_not_there_is_named(told_in_processes):
    answer = told_in_processes["run", "fashion-mnist", "--data", "nowhere"]
    assert answer == (2, ["Error: --data nowhere: no such folder"])


def test_a_teacher_that_does_not_fit_is_said_before_a_study_is_created(told_in_processes, here_in_processes):
    code, lines = told_in_processes["run", *TOO_SMALL]
    assert code == 2
    assert lines[-1].startswith(
        "Error: [teacher] model: mobilenet_v3_small has 1,528,106 parameters, fewer than"
    )
    storage = open_storage(f"sqlite:///{here_in_processes / 'kdsearch.db'}")
    assert identity.find_study(storage, "digits") is None


def test_a_worker_checks_its_options_as_a_run_does(told_in_processes):
    code, lines = told_in_processes["worker", "digits", "--workers", "abc"]
    assert code == 2
    assert len(lines) == 1, lines
    assert lines[0].startswith("Error: worker [run]: workers = 'abc': must be")


def test_a_setting_that_is_none_shows_how_one_is_written():
    code, lines = told("run", "--set", "training.epochs")
    assert code == 2
    assert lines == ["Error: --set training.epochs: write table.key=value, as in --set training.epochs=20"]


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [(["run", "--trails", "3"], "--trials"), (["rnu"], "run"), (["status", "--jsno"], "--json")],
)
def test_an_unknown_command_or_option_is_answered_with_the_nearest(arguments, nearest):
    code, lines = told(*arguments)
    assert code == 2
    assert nearest in lines[-1]


@pytest.mark.parametrize("trials", ["0", "-1", "many"])
def test_trials_are_a_number_from_1_on(trials):
    code, lines = told("run", "--trials", trials)
    assert code == 2
    assert "--trials" in lines[-1]


@pytest.mark.parametrize(
    "command",
    [["status"], ["export-best"], ["sync"], ["views"], ["show", "3"], ["delete", "digits", "--yes"]],
)
def test_a_command_without_a_database_says_so_and_makes_none(command, tmp_path):
    code, lines = told(*command)
    assert code == 2
    assert lines == [
        "Error: kdsearch.db: no study here yet; 'kdsearch run' creates one, --storage names another database"
    ]
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize(
    ("url", "code"), [("nonsense", 2), ("mysql://me:secret@host/x", 2), (UNREACHABLE, 1)]
)
def test_a_bad_storage_is_one_line_without_its_password(url, code):
    found, lines = told("status", "--storage", url)
    assert found == code
    assert len(lines) == 1
    assert "--storage" in lines[0]
    assert "secret" not in lines[0]


def test_the_storage_may_come_from_the_environment(untrained, monkeypatch):
    monkeypatch.setenv("KDSEARCH_STORAGE", untrained)
    assert CliRunner().invoke(main, ["status", "--json"]).output.startswith('{"study":"digits","target":5')


def test_all_commands_that_take_a_storage_take_it_from_the_environment():
    takes = {
        name: parameter.envvar
        for name, command in main.commands.items()
        for parameter in command.params
        if parameter.name == "storage"
    }
    assert takes == dict.fromkeys(
        main.commands.keys() - {"predict", "studies", "teacher"}, "KDSEARCH_STORAGE"
    )


def test_nothing_finished_is_nothing_to_export(untrained, tmp_path):
    code, lines = told("export-best", "--storage", untrained)
    assert code == 1
    assert lines == ["Error: study 'digits' has no finished trial to export yet; 'kdsearch run' trains some"]
    assert list((tmp_path / "here").iterdir()) == []


def test_a_study_of_an_earlier_version_that_is_called_dot_dot_opens_and_exports_nowhere(tmp_path):
    url, before = f"sqlite:///{tmp_path / 'odd.db'}", load_study("digits", {})
    odd = Study({**before.tables, "name": ".."}, "odd.toml")
    keep(create(url, odd), target=5)
    code, lines = told("export-best", "--storage", url, "--force")
    assert (code, lines) == (2, ["Error: study '..': no folder can have its name; name a folder with --out"])
    assert told("status", "--storage", url)[0] == 0
    assert {path.name.partition(".db")[0] for path in tmp_path.iterdir()} == {"here", "odd"}


def test_an_unknown_study_of_a_database_is_answered_with_those_there_are(untrained):
    code, lines = told("status", "letters", "--storage", untrained)
    assert (code, lines) == (2, ["Error: no study 'letters' here; there are: digits"])


def test_a_study_is_not_deleted_without_a_yes(untrained):
    asked = CliRunner().invoke(main, ["delete", "digits", "--storage", untrained], input="n\n")
    assert asked.exit_code == 1
    assert "Remove study 'digits' with 0 finished trials?" in asked.output
    assert told("status", "--storage", untrained)[0] == 0


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (["s5"], "'s5' is neither a trial's number nor a network: s0-first, "),
        (["s0-first", "--image-size", "32"], "s0-first needs images of at least 72 x 72; --image-size is 32"),
    ],
)
def test_a_network_that_cannot_be_shown_says_why(asked, answer):
    code, lines = told("show", *asked)
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith(f"Error: {answer}")


def test_a_trial_that_is_not_there_has_no_network(untrained):
    answer = told("show", "3", "--storage", untrained)
    assert answer == (2, ["Error: study 'digits' has no trial 3 with a student"])


@pytest.mark.parametrize("words", [["studies"], ["studies", "--help"]])
def test_a_full_disk_behind_standard_output_is_one_line(words):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "kdsearch", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    told = "Error: standard output cannot be written (No space left on device); free some disk\n"
    assert (done.returncode, done.stderr) == (1, told)
