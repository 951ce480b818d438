"""Which errors of a database pass with time, and what to do about the others."""

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

OUTAGE_SECONDS = 300  # how long work waits for a database that went away

BUSY_FILE = {"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL"}
# SQLSTATEs: too many clients, starting up, lock not available; serialisation failures and deadlocks
BUSY_SERVER = ("53300", "57P03", "55P03", "40")
LOST_SERVER = ("08", "57P")
# A server that refuses a connection sends no SQLSTATE that the driver would show: its words have to do.
BUSY_WORDS = "too many clients", "too many connections", "connection slots", "starting up", "shutting down"
REFUSALS = (
    "authentication failed",
    "no password supplied",
    "does not exist",
    "pg_hba.conf",
    "permission denied",
)

AGAIN = "and the same command resumes"
FULL = f"make room on its disk, {AGAIN}"
CLOSED = f"let this user write there, {AGAIN}"
DAMAGED = "restore it from a copy, or name another database with --storage"
CURES = {
    "SQLITE_FULL": FULL,
    "SQLITE_CORRUPT": DAMAGED,
    "SQLITE_NOTADB": DAMAGED,
    "SQLITE_READONLY": CLOSED,
    "SQLITE_PERM": CLOSED,
    "SQLITE_CANTOPEN": CLOSED,
    "SQLITE_IOERR": f"repair its disk, {AGAIN}",
    "53100": FULL,
    "42501": CLOSED,
    "25006": CLOSED,
}


def driver_error(error: BaseException | None) -> SQLAlchemyError | None:
    """The database's error: `error` itself, or the one from which it was raised."""
    while error is not None and not isinstance(error, SQLAlchemyError):
        error = error.__cause__
    return error


def is_busy(error: BaseException) -> bool:
    """Whether the database exists but cannot serve us now: locked, full of clients, starting or stopping."""
    found = driver_error(error)
    if isinstance(found, PoolTimeoutError):
        return True
    if not isinstance(found, DBAPIError):
        return False
    kind = _kind(found)
    return kind in BUSY_FILE or kind.startswith(BUSY_SERVER) or (not kind and _says(found, BUSY_WORDS))


def is_passing(error: BaseException) -> bool:
    """Whether the same call may succeed later: the database is busy, or the connection to it is lost.

    Other errors do not pass: a full disk, a damaged file, no permission to write, missing tables, bad data.
    """
    found = driver_error(error)
    if is_busy(error) or isinstance(found, PendingRollbackError):
        return True
    if not isinstance(found, DBAPIError):
        return False
    if found.connection_invalidated:
        return True
    kind = _kind(found)
    lost = isinstance(found, OperationalError | InterfaceError)
    return kind.startswith(LOST_SERVER) or (not kind and lost and not _says(found, REFUSALS))


def reason(error: BaseException) -> str:
    """The first line of the database's message."""
    found = driver_error(error) or error
    lines = str(getattr(found, "orig", None) or found).strip().splitlines()
    return lines[0] if lines else type(found).__name__


def cure(error: BaseException) -> str:
    """What to do about an error that does not pass."""
    found = driver_error(error)
    kind = _kind(found) if isinstance(found, DBAPIError) else ""
    return CURES.get(kind, "remove the cause, or name another database with --storage")


def retrying(patience: float = OUTAGE_SECONDS) -> Retrying:
    """Repeats a call while its error may pass, for up to `patience` seconds; then raises the last one."""
    return Retrying(
        retry=retry_if_exception(is_passing),
        wait=wait_random_exponential(0.1, max=5),
        stop=stop_after_delay(patience),
        reraise=True,
    )


def _kind(error: DBAPIError) -> str:
    """SQLite's primary error name, such as SQLITE_BUSY, or a server's SQLSTATE; "" if there is none."""
    name = getattr(error.orig, "sqlite_errorname", None)
    if name:
        return "_".join(name.split("_")[:2])
    if type(error.orig).__module__.startswith("sqlite3"):
        return "SQLITE_MISUSE"  # the module itself refused, without asking SQLite
    return getattr(error.orig, "sqlstate", None) or ""


def _says(error: DBAPIError, words: tuple[str, ...]) -> bool:
    return any(word in str(error.orig) for word in words)
