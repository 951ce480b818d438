"""Published files, from the user's folder or downloaded once into the cache; each is checked first."""

import hashlib
import os
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.request import build_opener

from kdsearch.cache import discard, entry, locked, making
from kdsearch.errors import DataError
from kdsearch.files import open_regular
from kdsearch.progress import Progress

CHUNK = 2**18
SILENCE_SECONDS = 30  # a server that sends nothing for so long is given up


class Archive(NamedTuple):
    """A file of a published data set."""

    data_set: str
    filename: str
    md5: str
    urls: tuple[str, ...]


def located(archive: Archive, folder: Path | None, progress: Progress) -> Path:
    """The file in `folder` or in torchvision's own folders there; without a folder the downloaded file.

    Raises DataError if it is not there, is not the published file, or cannot be downloaded.
    """
    if folder is None:
        return downloaded(archive, progress)
    for place in (folder, folder / "raw", folder / archive.data_set, folder / archive.data_set / "raw"):
        path = place / archive.filename
        if os.path.lexists(path):
            return checked(path, archive)
    raise DataError(
        f"--data {folder}: {archive.filename} of {archive.data_set} is not there; "
        "name the folder that holds it, or leave --data out to download it"
    )


def checked(path: Path, archive: Archive) -> Path:
    """Returns `path` if it is the published file. Raises DataError if not, and if nobody can read it."""
    try:
        with open_regular(path) as file:
            checksum = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); put the published file of {archive.data_set} there"
        ) from None
    if checksum != archive.md5:
        raise DataError(
            f"{path}: not the published file of {archive.data_set} (md5 {checksum}, not {archive.md5}); "
            "delete it and fetch it again"
        )
    return path


def downloaded(archive: Archive, progress: Progress) -> Path:
    """The file in the cache; the first caller downloads it, and a later one again if it is damaged.

    Raises DataError with the last reason.
    """
    folder = entry("downloads", archive.md5)
    reason = "no address known"
    with locked(folder):
        _prove(folder, archive, progress)
        for url in archive.urls:
            if folder.exists():
                break
            try:
                download(url, archive, folder, progress)
            except (OSError, HTTPException) as error:
                reason = f"{url}: {error}"
    if not folder.exists():
        raise DataError(
            f"{archive.data_set}: downloading {archive.filename} failed ({reason}); "
            "fetch it some other way and name its folder with --data"
        )
    return folder / archive.filename


def _prove(folder: Path, archive: Archive, progress: Progress) -> None:
    """Removes the entry if its file does not have the published checksum."""
    if not folder.exists():
        return
    try:
        checked(folder / archive.filename, archive)
    except (DataError, OSError):
        progress.say(f"{folder / archive.filename}: damaged; removed, kdsearch downloads it again")
        discard(folder)


def download(url: str, archive: Archive, folder: Path, progress: Progress) -> None:
    """Fetches one file, checks it and makes it the cache entry `folder`."""
    task = f"download {archive.filename}"
    with build_opener().open(url, timeout=SILENCE_SECONDS) as answer:
        total = int(answer.headers.get("Content-Length", 0))
        with making(folder, total) as temporary:
            path = temporary / archive.filename
            with path.open("wb") as file:
                while chunk := answer.read(CHUNK):
                    file.write(chunk)
                    progress.step(task, file.tell(), max(total, file.tell() + 1))
            checked(path, archive)
    progress.step(task, total, total)
