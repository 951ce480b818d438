import pytest

from kdsearch.errors import UsageError
from kdsearch.mirror.uri import DEFAULT_URI, how_to_compare, tracking_uri


def test_the_option_comes_before_the_environment_and_that_before_the_default(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(None) == DEFAULT_URI
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert tracking_uri(None) == "http://tracking:5000"
    assert tracking_uri("sqlite:///other.db") == "sqlite:///other.db"


@pytest.mark.parametrize("uri", ["./mlruns", "file:///runs", "ftp://host", "localhost:5000"])
def test_a_place_that_mlflow_cannot_use_is_refused_with_one_that_it_can(uri):
    with pytest.raises(UsageError, match=r"--tracking-uri .*write sqlite:///mlflow.db"):
        tracking_uri(uri)


def test_the_page_of_a_server_is_shown_and_else_what_opens_one():
    page = "http://host:5000/#/experiments/1/runs?viewStateShareKey=kdsearch-1"
    assert how_to_compare("http://host:5000/", page, "a b") == page
    assert how_to_compare(None, page, "a b") == page
    assert how_to_compare("http://other:5000", page, "a b") == "http://other:5000"
    assert how_to_compare("http://host:5000", None, "a b") == "http://host:5000"
    assert how_to_compare(DEFAULT_URI, page, "a b") == "kdsearch ui 'a b'"


def test_a_password_is_never_shown():
    assert how_to_compare("http://me:secret@host:5000", None, "a") == "http://me:***@host:5000"
    assert how_to_compare("http://host:5000/?token=secret", None, "a") == "http://host:5000/?token=***"
    with pytest.raises(UsageError) as error:
        tracking_uri("ftp://me:secret@host")
    assert "secret" not in str(error.value)
