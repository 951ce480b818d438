"""What it means that MLflow does not answer."""

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from kdsearch.errors import KdsearchError
from kdsearch.urls import cleaned, masked


class MirrorUnavailableError(KdsearchError):
    """MLflow does not answer now, or refuses; the next tick makes up for it."""


@contextmanager
def reaching(uri: str) -> Iterator[None]:
    """Raises MirrorUnavailableError, one line without passwords, for all that MLflow raises in the block."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = cleaned(str(error).partition("\n")[0], uri)[:200]
        raise MirrorUnavailableError(f"MLflow at {masked(uri)}: {reason}") from error
