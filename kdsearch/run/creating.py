"""A study is created once, with all that identifies it."""

from importlib.metadata import version

import optuna
from optuna.exceptions import DuplicatedStudyError

from kdsearch.data.image_set import SearchSets
from kdsearch.store.checkpoints import delete_checkpoints
from kdsearch.store.facts import DataFacts, is_whole, keep
from kdsearch.store.identity import check_settings, identity_of
from kdsearch.store.record import StudyRecord
from kdsearch.store.storage import StudyStorage
from kdsearch.store.studies import load_study
from kdsearch.study.budget import fitting
from kdsearch.study.file import Study


def data_facts(name: str, sets: SearchSets) -> DataFacts:
    _, channels, size, _ = sets.train.images.shape
    return DataFacts(
        name=name,
        fingerprint=sets.fingerprint,
        train=len(sets.train),
        validation=len(sets.validation),
        classes=sets.train.classes,
        image_size=size,
        channels=channels,
    )


def create_study(storage: StudyStorage, study: Study, data: DataFacts, views: int) -> optuna.Study:
    """The study in the storage, created with all that identifies it unless it exists.

    Raises IdentityError if it exists with other settings, or is another program's.
    """
    try:
        found = optuna.create_study(study_name=study.name, storage=storage, direction="maximize")
        keep(found, kdsearch=version("kdsearch"))
        record = StudyRecord(storage.engine, study.name)
        if record.files():  # of a study that somebody deleted by other means
            delete_checkpoints(record, study.run.storage)
        record.delete()
    except DuplicatedStudyError:
        found = load_study(storage, study.name)
        check_settings(found, study)
    facts = {
        "data": data,
        "views": views,
        "given_teachers": [name for name, teacher in study.teachers.items() if teacher.checkpoint],
        "finalists": study.finalists,
        "params": fitting(study, len(data.classes), data.image_size)[0].parameters(),
        "study": identity_of(study),  # the last one, see `is_whole`
    }
    if not is_whole(found):
        keep(found, **facts)
    return found
