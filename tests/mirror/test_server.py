"""MLflow's server as `kdsearch ui` starts it: for this machine alone, over a store that may be new."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from kdsearch.errors import UsageError
from kdsearch.mirror.server import ServerError, serving
from kdsearch.mirror.store import open_client

pytestmark = [pytest.mark.mlflow, pytest.mark.slow]
SEARCH = "api/2.0/mlflow/experiments/search"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(f"sqlite:///{tmp_path_factory.mktemp('served')}/new.db", None) as running:
        running.wait_until_ready()
        yield running


def answer(server, **headers):
    """The status and the text of a search for all experiments."""
    request = urllib.request.Request(
        f"{server.url}/{SEARCH}", b'{"max_results": 9}', {"Content-Type": "application/json", **headers}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_serves_the_store_that_it_made(server):
    made = open_client(server.uri).create_experiment("digits")
    status, text = answer(server)
    names = {each["experiment_id"]: each["name"] for each in json.loads(text)["experiments"]}
    assert (status, names) == (200, {"0": "Default", made: "digits"})


def test_refuses_pages_of_others(server):
    """A page of another site must not read the runs: neither by its own name for this machine nor across."""
    assert answer(server, Host="other.example:5000")[0] == 403
    assert answer(server, Origin="http://other.example")[0] == 403
    assert answer(server, Origin=server.url)[0] == 200


def test_the_list_of_processes_does_not_show_the_store(server):
    told = Path(f"/proc/{server.process.pid}/cmdline").read_text()
    assert "new.db" not in told


def test_a_store_that_cannot_be_opened_is_one_line(tmp_path):
    uri = f"sqlite:///{tmp_path}/none.db"
    (tmp_path / "none.db").write_text("no database at all, only some words in a file of that name")
    with serving(uri, None) as server, pytest.raises(ServerError, match="file is not a database"):
        server.wait_until_ready()
    assert server.process.returncode is not None


def test_a_port_that_is_taken_is_said(server):
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(UsageError, match=f"--port {port}: another program uses this port"), serving("", port):
        pytest.fail("it started")
