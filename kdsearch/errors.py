"""What a user can mend. Each error is one line that names the place and the cure, and has an exit code."""


class KdsearchError(Exception):
    """Something that the user can mend; `str()` of it is the whole message, shown without a traceback."""

    exit_code = 1


class UsageError(KdsearchError):
    """The command line or the machine is not as it must be; nothing was started."""

    exit_code = 2


class StudyFileError(KdsearchError):
    """A study file that cannot be read as one: names file, table, key, what is allowed, nearest key."""

    exit_code = 2


class IdentityError(KdsearchError):
    """A study of this name exists and was created with other settings, data or teacher."""

    exit_code = 2


class DataError(KdsearchError):
    """The image set is missing, unreadable or unfit; names the file or folder."""

    exit_code = 2


class TeacherError(KdsearchError):
    """The teacher's checkpoint is missing or does not fit."""

    exit_code = 2


class StorageError(KdsearchError):
    """The study's database cannot be reached or used."""


class OutageError(KdsearchError):
    """The study's database went away, and did not come back in the time that work waits for it."""


class StudyDeletedError(KdsearchError):
    """Somebody deleted the study while a process worked on it."""

    def __init__(self) -> None:
        super().__init__("somebody deleted the study during the run; the same command begins a new one")


class SearchError(KdsearchError):
    """The search had to stop, for example after too many failures."""


class CacheClearedError(KdsearchError):
    """Somebody cleared the cache while a search read it."""


class CacheDamagedError(KdsearchError):
    """A file of the cache is not what was written there; it can be made again."""


class NothingFinishedError(KdsearchError):
    """The study has no finished trial that could be exported or shown."""


class ExportError(KdsearchError):
    """An exported form, loaded back, does not answer as the student does."""


class ReportedError(KdsearchError):
    """What a child process could not do, with the exit code that it gave."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class StoppedError(KdsearchError):
    """Ctrl-C or SIGTERM; the same command resumes. The exit code is 128 + the signal, as in shells."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
