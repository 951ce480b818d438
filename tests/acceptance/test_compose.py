"""docker-compose.yml, as far as it goes without a Docker engine.

Its promises are read from the file. Its commands run with its environment as ordinary processes, against a
PostgreSQL that asks for the password.
"""

import json
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote, urljoin
from urllib.request import Request, urlopen

import pytest
from mlflow import MlflowClient
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from tests.compose import PASSWORD, ROOT, USER, Machine, services
from tests.servers import postgres_server, wait_until

OURS = ("mlflow", "init", "worker", "sync")


@pytest.mark.parametrize("given", [{}, {"POSTGRES_PASSWORD": ""}])
def test_nothing_starts_without_a_password_of_the_users_own(given):
    with pytest.raises(LookupError, match=r"set it in \.env"):
        services(given)


def test_the_password_stands_only_where_postgresql_and_its_clients_read_it():
    for name, service in services(USER).items():
        places = {key for key, value in service.get("environment", {}).items() if PASSWORD in value}
        assert places == {"postgres": {"POSTGRES_PASSWORD"}, "mlflow": set()}.get(name, {"PGPASSWORD"})
        del service["environment"]
        assert PASSWORD not in json.dumps(service)


def test_ports_are_published_to_this_machine_alone():
    published = [port for service in services(USER).values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:5432:5432", "127.0.0.1:5000:5000"]


def test_one_image_serves_all_but_postgresql():
    found = services(USER)
    assert {name: found[name].get("build") for name in found} == {"postgres": None} | dict.fromkeys(OURS, ".")
    assert {found[name]["image"] for name in OURS} == {"kdsearch"}


def test_each_service_waits_for_what_it_needs():
    found = services(USER)
    needs = {name: service.get("depends_on", {}) for name, service in found.items()}
    ready = {name: {other: need["condition"] for other, need in needs[name].items()} for name in needs}
    created = {"init": "service_completed_successfully"}
    assert ready["init"] == {"postgres": "service_healthy"}
    assert ready["worker"] == {"postgres": "service_healthy"} | created
    assert ready["sync"] == {"mlflow": "service_healthy"} | created
    assert all("healthcheck" in found[name] for name in ("postgres", "mlflow"))


def test_workers_scale_share_their_folders_and_hear_that_they_should_stop():
    worker = services(USER)["worker"]
    assert not {"container_name", "hostname", "ports"} & set(worker)
    assert worker["volumes"] == services(USER)["init"]["volumes"]
    assert worker["init"] is True
    assert worker["stop_grace_period"] == "2m"


def test_the_image_is_made_of_what_the_build_may_see_and_runs_as_nobody_special():
    dockerfile = (ROOT / "Dockerfile").read_text()
    copied = {name for line in re.findall(r"^COPY (.*)", dockerfile, re.M) for name in line.split()[:-1]}
    seen = set(re.findall(r"^!(.*)", (ROOT / ".dockerignore").read_text(), re.M))
    assert copied == seen == {"pyproject.toml", "README.md", "LICENSE", "kdsearch", "studies"}
    assert re.findall(r"^USER (.*)", dockerfile, re.M) == ["kdsearch"]
    folders = {volume.split(":")[1] for name in OURS for volume in services(USER)[name].get("volumes", [])}
    assert all(folder in dockerfile for folder in folders)


@contextmanager
def locked_database():
    """The folder of a socket, behind which the compose file's user needs its password."""
    own = services(USER)["postgres"]["environment"]
    with postgres_server() as server:
        admin = create_engine(server.new_database(), isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            role, database = own["POSTGRES_USER"], own["POSTGRES_DB"]
            connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD '{own['POSTGRES_PASSWORD']}'"))
            connection.execute(text(f"CREATE DATABASE {database} OWNER {role}"))
            rules = Path(connection.execute(text("SHOW hba_file")).scalar_one())
            rules.write_text(f"local all {role} scram-sha-256\n{rules.read_text()}")
            connection.execute(text("SELECT pg_reload_conf()"))
        admin.dispose()
        folder = make_url(server.new_database()).query["host"]
        stranger = create_engine(f"postgresql+psycopg://{role}@/{database}?host={folder}")
        wait_until(lambda: _is_refused(stranger), "PostgreSQL asks for the password")
        yield folder


def _is_refused(engine):
    try:
        engine.connect().close()
    except OperationalError as error:
        return "no password supplied" in str(error)
    finally:
        engine.dispose()
    return False


def started(test):
    """Marks a test that needs the services to have run."""
    for mark in (pytest.mark.postgres, pytest.mark.mlflow, pytest.mark.slow):
        test = mark(test)
    return test


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A machine on which the services have run, as compose orders them, until the study was finished."""
    with locked_database() as socket_folder:
        made = Machine(tmp_path_factory.mktemp("compose"), socket_folder)
        try:
            made.start("mlflow")
            made.finish(made.start("init"), "init")
            wait_until(lambda: made.is_healthy("mlflow"), f"mlflow, see {made.folder / 'mlflow.log'}")
            sync = made.start("sync")
            url = made.environment("worker")["KDSEARCH_STORAGE"]
            in_url = url.replace("kdsearch@", f"kdsearch:{quote(PASSWORD, safe='')}@")
            first = made.start("worker", "worker-1")
            second = made.start("worker", "worker-2", KDSEARCH_STORAGE=in_url, PGPASSWORD="")
            made.finish(first, "worker-1")
            made.finish(second, "worker-2")
            wait_until(lambda: sync.poll() is not None or _is_mirrored(made), "the runs in MLflow")
            assert sync.poll() is None, (made.folder / "sync.log").read_text()
            sync.terminate()
            assert sync.wait(timeout=60) == 143
            yield made
        finally:
            made.stop()


def _runs(machine):
    client = MlflowClient(machine.replaced("http://mlflow:5000"))
    experiment = client.get_experiment_by_name("digits")
    return client.search_runs([experiment.experiment_id]) if experiment else []


def _trials(machine):
    return [run for run in _runs(machine) if "trial" in run.data.tags]


def _is_mirrored(machine):
    return [run.info.status for run in _trials(machine)].count("FINISHED") == 3


@started
def test_two_workers_finish_the_study_that_init_created(machine):
    told = subprocess.run(
        ["kdsearch", "status", "digits", "--json"],
        env=machine.environment("worker"),
        cwd=machine.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    (machine.folder / "status.log").write_text(told.stdout + told.stderr)
    status = json.loads(told.stdout)
    assert (status["finished"], status["target"], status["running"]) == (3, 3, 0)


@started
def test_mlflow_shows_each_trial_with_its_curve(machine):
    for run in _trials(machine):
        assert {"val_accuracy", "train_loss"} <= set(run.data.metrics)
        assert run.data.tags["mlflow.parentRunId"]


@started
def test_the_password_is_in_no_output_no_file_no_run_and_no_command_line(machine):
    spellings = {PASSWORD, quote(PASSWORD), quote(PASSWORD, safe="")}
    told = [str(run.to_dictionary()) for run in _runs(machine)]
    files = [path for path in machine.folder.rglob("*") if path.is_file()]
    assert {"mlflow.log", "init.log", "worker-1.log", "sync.log"} <= {path.name for path in files}
    assert any("kdsearch worker" in line for line in machine.seen)
    for spelling in spellings:
        assert not [line for line in (*machine.seen, *told) if spelling in line]
        assert not [path for path in files if spelling.encode() in path.read_bytes()]


@started
def test_what_the_health_check_asks_is_refused_where_the_server_does_not_know_its_name(machine):
    command = machine.replaced(" ".join(services(USER)["mlflow"]["healthcheck"]["test"]))
    asked = re.search(r"http://[^\"]+", command)[0]
    stranger = {"Host": "unknown:5000"}
    with urlopen(Request(urljoin(asked, "/health"), headers=stranger)) as answer:
        assert answer.status == 200
    with pytest.raises(HTTPError, match="403") as refused:
        urlopen(Request(asked, headers=stranger))
    refused.value.close()
