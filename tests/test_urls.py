import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdsearch.urls import cleaned, has_secret, masked

SECRETS = st.text(string.ascii_letters + string.digits + "@:/%?#;+ é'", min_size=6).map(
    lambda text: f"s3{text}cr"
)
USERS = st.sampled_from(["", "me", "kdsearch"])
SCHEMES = st.sampled_from(["postgresql+psycopg", "postgresql", "mysql", "http", "https", "ftp", "sqlite"])
HOSTS = st.sampled_from(["host", "127.0.0.1:5000", "a:1,b:2", ""])
PASSWORDS = "password", "PASSWORD", "passwd", "pwd", "sslpassword", "p%61ssword", "credential"
TOKENS = "token", "access_token", "sig", "X-Amz-Signature", "api_key", "apikey", "key", "client_secret"
NAMES = st.sampled_from([*PASSWORDS, *TOKENS])
BEFORE = st.sampled_from(["", "sslmode=require&", "a=1;", "next=me@host&"])
AFTER = st.sampled_from(["", "&connect_timeout=5"])


def spelled(secret):
    return st.sampled_from([secret, quote(secret), quote(secret, safe="")])


@st.composite
def with_password(draw, *, slips=False):
    """A URL with user:password@, and the password as it stands there; with `slips`, parts are left out."""
    password = draw(spelled(draw(SECRETS)))
    url = f"{draw(SCHEMES)}://{draw(USERS)}:{password}@{draw(HOSTS)}/db?{draw(BEFORE)}a=b"
    forms = [url, url.replace("://", ":"), url.partition("://")[2]] if slips else [url]
    return draw(st.sampled_from(forms)), password


@st.composite
def with_parameter(draw):
    """A URL with a secret in its query or its fragment."""
    secret = draw(spelled(draw(SECRETS).replace("&", "")))
    lead = draw(st.sampled_from(["?", "#", "/x?", "/x?a=b#"]))
    url = f"{draw(SCHEMES)}://{draw(USERS)}@{draw(HOSTS)}/db{lead}{draw(BEFORE)}"
    return f"{url}{draw(NAMES)}={secret}{draw(AFTER)}", secret


@given(st.one_of(with_password(slips=True), with_parameter()))
def test_no_form_of_a_url_shows_its_secret(drawn):
    url, secret = drawn
    assert has_secret(url)
    assert secret not in masked(url)
    assert masked(masked(url)) == masked(url)


@given(st.one_of(with_password(), with_parameter()), st.sampled_from([str, repr, quote]))
def test_no_message_of_a_library_shows_the_secret_of_its_url(drawn, spelling):
    url, secret = drawn
    for message in (
        f"cannot connect to {spelling(url)}",
        f"bad value {spelling(secret)}: Max retries exceeded",
    ):
        assert secret not in cleaned(message, url)
        assert spelling(secret) not in cleaned(message, url)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///kdsearch.db",
        "sqlite:////data:1/me@work/x.db",
        "postgresql+psycopg://kdsearch@db.example.org/kdsearch",
        "postgresql+psycopg://postgres:@/db?host=/tmp/socket",
        "http://127.0.0.1:5000",
        "http://host/?password=",
        "nothing at all",
        "",
    ],
)
def test_a_url_without_secrets_is_shown_as_it_is(url):
    assert masked(url) == url
    assert not has_secret(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    {
        "postgresql+psycopg://u:secret@h:1/d": "postgresql+psycopg://u:***@h:1/d",
        "https://a-token@host/x": "https://***@host/x",
        "http://h/x?token=abc&a=1": "http://h/x?token=***&a=1",
        "postgresql://u:secret@h:port/d": "postgresql://u:***@h:port/d",
        "me:secret@host:5000": "me:***@host:5000",
    }.items(),
)
def test_what_is_no_secret_is_still_read(url, shown):
    assert masked(url) == shown


def test_a_message_that_brings_its_own_url_is_masked():
    said = "Max retries exceeded with url: /?token=abc (http://me:word@host), see '//me:word@host'"
    assert (
        cleaned(said)
        == "Max retries exceeded with url: /?token=*** (http://me:***@host), see '//me:***@host'"
    )
