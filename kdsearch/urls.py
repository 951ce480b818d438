"""Hides every secret in URLs, so that they can be shown."""

import re
from collections.abc import Iterator
from functools import partial
from urllib.parse import quote, quote_plus, unquote, unquote_plus

HIDDEN = "***"
# scheme://user:password@ as far as the last @, since a password may hold an unescaped / or @ or :
AUTHORITY = re.compile(r"(?:(?P<scheme>[\w+.-]*):)?//(?P<user>[^:@]*)(?::(?P<password>.*))?@", re.DOTALL)
BARE = re.compile(r"^(?P<scheme>)(?P<user>[^:@]*):(?P<password>.*)@", re.DOTALL)  # without the //
FILES = ("sqlite", "file")  # schemes whose paths may hold : and @
NAME = re.compile(r"[^?&;#=\s'\"]+(?==)")
SECRET = re.compile(r"pass|pwd|token|key|sig|secret|cred|auth", re.IGNORECASE)
SHORT = 3  # characters: a secret that is no longer is masked only as a whole word


def masked(url: str) -> str:
    """`url` with *** for its passwords and tokens: in user:password@, and by name in the query.

    A name alone before the @ is a user's, but in a web URL it is a token. Any text is accepted as a URL; one
    without secrets is returned unchanged.
    """
    for start, end in reversed(list(_places(url))):
        url = url[:start] + HIDDEN + url[end:]
    return url


def has_secret(url: str) -> bool:
    """Whether something in `url` must not be shown or stored."""
    return any(True for _ in _places(url))


def cleaned(text: str, *urls: str | None) -> str:
    """A library's message without the secrets of the `urls` that the library got, however it spells them.

    Other URLs and name=value pairs in the message are masked too.
    """
    secrets = {url[start:end] for url in urls if url for start, end in _places(url)}
    spellings = {spelling for secret in secrets for spelling in _spellings(secret)}
    for spelling in sorted(spellings, key=len, reverse=True):
        alone = r"(?<!\w){}(?!\w)" if len(spelling) <= SHORT else "{}"
        text = re.sub(alone.format(re.escape(spelling)), HIDDEN, text)
    return re.sub(r"[^\s'\"()<>,]+", lambda word: masked(word[0]), text)


def _spellings(secret: str) -> set[str]:
    parts = {secret[: at.start()] for at in re.finditer("@|$", secret)}  # an @ may be the user part's end
    plain = {way(part) for part in parts - {""} for way in (str, unquote, unquote_plus)}
    ways = quote, quote_plus, partial(quote, safe=""), lambda text: repr(text)[1:-1]
    return plain | {spell(text) for text in plain for spell in ways}


def _places(url: str) -> Iterator[tuple[int, int]]:
    """The start and the end of each secret, in order."""
    user = AUTHORITY.search(url) or (None if "//" in url else BARE.match(url))
    scheme = (user["scheme"] or "").lower() if user else ""
    if user and scheme.startswith(FILES) and url.startswith("/", user.start("user")):
        user = None
    after = user.end() if user else 0
    if user and user["password"]:
        yield user.span("password")
    elif user and scheme.startswith("http") and re.fullmatch("[^/?#]+", user["user"]):
        yield user.span("user")
    for pair in re.finditer("[^&]+", url[after:]):
        for name in NAME.finditer(pair[0]):
            start, end = after + pair.start() + name.end() + 1, after + pair.end()
            if SECRET.search(unquote(name[0])) and start < end:
                yield start, end
                break
