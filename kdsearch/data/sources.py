"""From the table [data] of a study to image sets."""

from dataclasses import replace
from pathlib import Path

from kdsearch.cache import check_cache, digest, entry, locked, sound
from kdsearch.data.decode import DECODE_VERSION, resized
from kdsearch.data.image_folder import ImageFolder
from kdsearch.data.image_set import VERSION, ImageSet, Parts, SearchSets, Source
from kdsearch.data.named import NAMED
from kdsearch.data.split import hold_out, subset
from kdsearch.data.walk import counted
from kdsearch.errors import DataError
from kdsearch.files import expanded
from kdsearch.names import nearest_first
from kdsearch.progress import Progress
from kdsearch.tables import FOLDER, DataConfig


def find_source(config: DataConfig, seed: int) -> Source:
    """The source that the config names. Raises DataError for an unknown name or a missing folder."""
    folder = expanded(config.path) if config.path is not None else None
    if folder is not None:
        check_folder(folder)
    if config.name in NAMED:
        return NAMED[config.name](folder, seed)
    if config.name != FOLDER:
        known = nearest_first(config.name, [FOLDER, *NAMED])
        raise DataError(f"data.name = {config.name!r}: unknown; known, nearest first: {known}")
    if folder is None:
        raise DataError("this study reads a folder of images: name it with --data FOLDER")
    return ImageFolder(folder, config)


def check_folder(folder: Path) -> None:
    """Raises DataError if there is no such folder, or no permission to read it."""
    try:
        there, is_folder = folder.exists(), folder.is_dir()
        if is_folder:
            (folder / "..").stat()  # the system looks into the folder for it
    except OSError as error:
        raise DataError(f"--data {folder}: cannot be read ({error.strerror})") from None
    if not is_folder:
        raise DataError(f"--data {folder}: {'is not a folder' if there else 'no such folder'}")


def load_search_sets(config: DataConfig, seed: int, progress: Progress) -> SearchSets:
    """The images that a search may see, decoded once for each machine; opens no test image.

    The same config, seed and files give the same sets, whether from the cache or not: every byte in the cache
    is compared with its checksum. One line says what was left out, another what is unusual about the images.
    Raises DataError, or UsageError if nobody can write to the cache.
    """
    check_cache()
    source = find_source(config, seed)
    folder = data_entry(config, seed, source)
    with locked(folder):
        if sound(folder, progress.say):
            sets = SearchSets.open(folder)
        else:
            parts = source.search(progress)
            train, validation, note = divided(parts, config, seed)
            sets = SearchSets.make(folder, train, validation, note, parts.skipped)
    left_out = source.left_out()
    if sets.skipped:
        left_out.append(counted(sets.skipped, "damaged image{s} or link{s} to nothing"))
    if left_out:
        progress.say(f"left out: {'; '.join(left_out)}")
    if sets.note:
        progress.say(sets.note)
    return sets


def data_entry(config: DataConfig, seed: int, source: Source) -> Path:
    """The cache entry of the two sets, whether it exists or not."""
    unsaid = {"fit"} if config.fit == "crop" else set()  # the key of an entry made before it could be said
    settings = config.model_dump(exclude={"path"} | unsaid)
    return entry("data", digest(settings, seed, source.identity(), DECODE_VERSION, VERSION))


def divided(parts: Parts, config: DataConfig, seed: int) -> tuple[ImageSet, ImageSet, str]:
    """Holds out a validation set if there is none, then draws `data.train_images` training images."""
    train, validation, notes = in_size(parts.train, config), parts.validation, [parts.note]
    if validation is None:
        try:
            train, validation, stayed = hold_out(train, config.validation, seed)
        except DataError as error:
            raise DataError(f"{error} ({parts.note})" if parts.note else str(error)) from None
        if stayed:
            notes.append(
                f"{stayed} images drawn for validation are copies of training images and stay in training"
            )
    if config.train_images is not None:
        train = subset(train, config.train_images, seed)
    return train, in_size(validation, config), "; ".join(filter(None, notes))


def load_test_set(config: DataConfig, seed: int, progress: Progress) -> ImageSet:
    """The test images; nothing else opens them. Raises DataError if there are none, or no labels."""
    return in_size(find_source(config, seed).test(progress), config)


def in_size(image_set: ImageSet, config: DataConfig) -> ImageSet:
    """The images at the study's size, or at their own if the study names none.

    A set that is reduced keeps its own pixels as source, or reduced to `data.source_size` if that is less.
    Raises DataError if that is below the images' own size, which they keep.
    """
    native, asked = image_set.images.shape[-1], config.source_size
    size = config.image_size or native
    if asked is not None and asked < size:
        raise DataError(f"data.source_size = {asked}: below the images' {size}; give more, or leave it out")
    small = resized(image_set, size)
    source = native if asked is None else min(asked, native)
    if small is image_set or source <= size:
        return small
    return replace(small, source=resized(image_set, source).images)
