"""Turns every error of MLflow into MirrorUnavailableError."""

from collections.abc import Iterator
from contextlib import contextmanager

from kdsearch.errors import KdsearchError
from kdsearch.urls import cleaned, masked


class MirrorUnavailableError(KdsearchError):
    """MLflow does not answer now, or refuses; the next tick makes up for it."""


@contextmanager
def reaching(uri: str) -> Iterator[None]:
    """Raises MirrorUnavailableError, one line without passwords, for all that MLflow raises in the block.

    Whatever that is: its own errors, SQLAlchemy's, alembic's, those of drivers and of servers that answer
    something else. No list of them is complete.
    """
    try:
        yield
    except KdsearchError:
        raise
    except Exception as error:
        raise MirrorUnavailableError(f"MLflow at {masked(uri)}: {one_line(error, uri)}") from error


def one_line(error: Exception, uri: str | None) -> str:
    """What an error of a library says, without secrets; its name where it says nothing."""
    told = str(error).strip().partition("\n")[0]
    return cleaned(told, uri)[:200] or type(error).__name__
