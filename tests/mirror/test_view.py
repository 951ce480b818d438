"""The saved view, and the versions of MLflow that it is written for."""

import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from mlflow import MlflowClient
from mlflow.version import VERSION

from kdsearch.mirror.mirror import Mirror
from kdsearch.mirror.view import opens_views, view_tag
from kdsearch.store.runs import FINALISTS, Candidate, Run

KNOWN = ["3.17.0", "3.17.2", "3.18.0", "3.18.0rc1", "3.99"]
UNKNOWN = ["2.22.1", "3.16.9", "4.0.0", "4.0.0.dev0", "4.0.0rc1", "", "<html>no such page</html>"]


@pytest.mark.parametrize("version", KNOWN)
def test_the_view_is_written_for_versions_that_open_it(version):
    assert opens_views(version)


@pytest.mark.parametrize("version", UNKNOWN)
def test_the_view_is_not_written_for_others(version):
    assert not opens_views(version)


@contextmanager
def calling_itself(server, version):
    """The same server, under an address where it says that it is of that version."""

    class Passing(BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
            headers = {"Content-Type": self.headers.get("Content-Type", "text/plain")}
            request = urllib.request.Request(server.uri + self.path, body, headers, method=self.command)
            try:
                with urllib.request.urlopen(request, timeout=60) as response:
                    status, text = response.status, response.read()
            except urllib.error.HTTPError as error:
                status, text = error.code, error.read()
            self.send_response(status)
            self.end_headers()
            self.wfile.write(version.encode() if self.path == "/version" else text)

        do_GET = do_POST = do_PUT = do_PATCH = answer  # noqa: N815

        def log_message(self, *told):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Passing) as passing:
        Thread(target=passing.serve_forever).start()
        yield f"http://127.0.0.1:{passing.server_port}"
        passing.shutdown()


@pytest.mark.mlflow
@pytest.mark.parametrize("version", [VERSION, "2.22.1", "99.0"])
def test_a_server_says_whether_it_gets_the_view(mlflow, study, record, trial, version):
    """Another one gets the runs all the same, and its page is MLflow's own charts of them."""
    study = study.model_copy(update={"name": f"for {version}", "best": "0.0"})
    with calling_itself(mlflow, version) as uri:
        mirror = Mirror(uri, study, record)
        mirror.tick([trial(0, "COMPLETE")])
        page = mirror.page()
    found = MlflowClient(mlflow.uri).get_experiment_by_name(study.name)
    identity, known = record.identity(), version == VERSION
    view = f"&viewStateShareKey=kdsearch-{identity[:8]}" if known else ""
    asked = f"workflowType=machine_learning{view}&compareRunsMode=CHART"
    assert page == f"{uri}/#/experiments/{found.experiment_id}/runs?{asked}"
    assert (view_tag(identity) in found.tags) == known
    assert found.tags["mlflow.note.content"].startswith("**Best**: trial 0, ")


def test_finalists_have_a_view_of_their_own_and_the_note_leads_there(local_uri, study, record, trial):
    study = study.model_copy(update={"name": "finalists", "best": "0.0"})
    mirror, client, rows = Mirror(local_uri, study, record), MlflowClient(local_uri), [trial(0, "COMPLETE")]
    tag = view_tag(record.identity(), "finalist")

    def tags_and_first_line():
        mirror.tick(rows)
        found = client.get_experiment_by_name(study.name)
        return found.tags, found.tags["mlflow.note.content"].partition("\n")[0]

    tags, line = tags_and_first_line()
    assert tag not in tags
    assert "](" not in line
    candidate = Candidate(trial=0, epochs=3, seed=0)
    rows.append(trial(0, "COMPLETE", run=Run(FINALISTS, 0, 0), candidate=candidate))
    tags, line = tags_and_first_line()
    assert tag in tags
    assert f"&viewStateShareKey={tag.rpartition('.')[2]}&compareRunsMode=CHART)" in line
