"""From a study's words about its images to image sets."""

from difflib import get_close_matches
from pathlib import Path

from kdsearch.cache import check_cache, digest, entry, locked, sound
from kdsearch.data.cifar import CifarSet
from kdsearch.data.decode import DECODE_VERSION, resized
from kdsearch.data.download import Archive
from kdsearch.data.idx import IdxSet
from kdsearch.data.image_folder import ImageFolder
from kdsearch.data.image_set import VERSION, ImageSet, SearchSets
from kdsearch.data.named import NAMED
from kdsearch.data.request import DataConfig
from kdsearch.data.source import Parts, Source
from kdsearch.data.split import hold_out, subset
from kdsearch.data.svhn import SvhnSet
from kdsearch.errors import DataError
from kdsearch.progress import Progress

FOLDER = "folder"


def find_source(config: DataConfig, seed: int) -> Source:
    """The source that the config names. Raises DataError for an unknown name or a missing folder."""
    folder = Path(config.path).expanduser() if config.path is not None else None
    if folder is not None and not folder.is_dir():
        raise DataError(f"--data {folder}: no such folder")
    if config.name in NAMED:
        return NAMED[config.name](folder, seed)
    if config.name != FOLDER:
        known = [FOLDER, *NAMED]
        nearest = get_close_matches(config.name, known, len(known), cutoff=0)
        raise DataError(f"data.name = {config.name!r}: unknown; known, nearest first: {', '.join(nearest)}")
    if folder is None:
        raise DataError("this study reads a folder of images: name it with --data FOLDER")
    return ImageFolder(folder, config)


def load_search_sets(config: DataConfig, seed: int, progress: Progress) -> SearchSets:
    """The images that a search may see, decoded once for each machine; opens no test image.

    The same config, seed and files give the same sets, from the cache or not: there every byte of them is
    proved. Raises DataError, or UsageError where the cache cannot be written to.
    """
    check_cache()
    source = find_source(config, seed)
    folder = data_entry(config, seed, source)
    with locked(folder):
        if sound(folder, progress.say):
            return SearchSets.open(folder)
        parts = source.search(progress)
        train, validation, note = divided(parts, config, seed)
        return SearchSets.make(folder, train, validation, note, parts.skipped)


def data_entry(config: DataConfig, seed: int, source: Source) -> Path:
    """Where the two sets lie, once they have been made."""
    settings = config.model_dump(exclude={"path"})
    return entry("data", digest(settings, seed, source.identity(), DECODE_VERSION, VERSION))


def archives_of(source: Source) -> tuple[Archive, ...]:
    """The published files that a source is read from, those of the test split too."""
    match source:
        case IdxSet():
            return tuple(source.archives)
        case SvhnSet():
            return tuple(source.archives.values())
        case CifarSet():
            return (source.archive,)
    return ()


def divided(parts: Parts, config: DataConfig, seed: int) -> tuple[ImageSet, ImageSet, str]:
    """Holds out a validation set where there is none, then draws the training images that are wanted."""
    train, validation, note = in_size(parts.train, config), parts.validation, parts.note
    if validation is None:
        train, validation, stayed = hold_out(train, config.validation, seed)
        if stayed:
            note = (
                f"{stayed} images drawn for validation are copies of training images, so they train instead"
            )
    if config.train_images is not None:
        train = subset(train, config.train_images, seed)
    return train, in_size(validation, config), note


def load_test_set(config: DataConfig, seed: int, progress: Progress) -> ImageSet:
    """The test images; nothing else opens them. Raises DataError where there are none, or no labels."""
    return in_size(find_source(config, seed).test(progress), config)


def in_size(images: ImageSet, config: DataConfig) -> ImageSet:
    """The images at the study's size; as they come where it names none."""
    return images if config.image_size is None else resized(images, config.image_size)
