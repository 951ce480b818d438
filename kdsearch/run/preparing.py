"""The preparing process of a machine: study, data, teacher, then the views in order."""

import signal
import sys
import time
from functools import partial
from itertools import chain
from multiprocessing.connection import Connection
from types import FrameType
from typing import NoReturn

import optuna
import torch

from kdsearch.cache import check_cache
from kdsearch.data.image_set import SearchSets
from kdsearch.data.sources import load_search_sets
from kdsearch.database import check_url, is_empty_file, place
from kdsearch.device import choose_device
from kdsearch.errors import TeacherError
from kdsearch.files import expanded
from kdsearch.mirror.uri import check_store, tracking_uri
from kdsearch.phases.bench import Prepared
from kdsearch.phases.phase import PHASES
from kdsearch.run.child import child
from kdsearch.run.creating import create_study, data_facts
from kdsearch.run.finalists import asked_finalists, check_finalists, is_given
from kdsearch.run.protocol import Channel, Created, Request
from kdsearch.run.views import bank_of, builder_of, keep_softness, make_views
from kdsearch.store import identity
from kdsearch.store.checkpoints import (
    adopt_checkpoints,
    check_state,
    checkpoint_folder,
    remove_abandoned,
    remove_spent,
)
from kdsearch.store.facts import DataFacts, is_whole, keep, study_facts
from kdsearch.store.liveness import this_process
from kdsearch.store.record import StudyRecord
from kdsearch.store.storage import StudyStorage, open_storage
from kdsearch.store.studies import Found, choose_study, finished_in, with_phases
from kdsearch.store.trials import Trials
from kdsearch.study.budget import check_budget
from kdsearch.study.file import Study, load_study
from kdsearch.study.space import Place, read_record
from kdsearch.study.teachers import label, place_of
from kdsearch.tables import RunConfig
from kdsearch.teachers.doubts import outdone, weak
from kdsearch.teachers.ready import Ready, check_teachers, prepare_teachers
from kdsearch.teachers.stored import weights_file
from kdsearch.urls import has_secret
from kdsearch.views.build import affordable_views, view_bytes


def prepare_process(connection: Connection, request: Request) -> None:
    """The main function of the preparing process.

    It makes each entry whole or not at all, so it may be stopped at any time.
    """
    with child(connection) as (channel, _):
        signal.signal(signal.SIGTERM, stop)
        prepare(request, channel)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends anyway


def stop(number: int, frame: FrameType | None) -> NoReturn:
    """Ends the process by an exception, so that temporary files go; by no second one on its way out."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def prepare(request: Request, channel: Channel) -> None:
    """Reports to the channel when the study exists and when workers can start. Raises KdsearchError."""
    study = _joined(request) if request.join else load_study(request.study, request.values)
    device = choose_device(study.run.device)
    _check_places(request, study.run, channel)
    storage = open_storage(study.run.storage, create=True)
    found = identity.find_study(storage, study.name)
    if found is not None:
        study = identity.continued(found, study)
        identity.check_settings(found, study)
    for line in check_finalists(request, study, found):
        channel.say(line)
    sets = load_search_sets(study.data, study.seed, channel)
    facts = data_facts(study.data.name, sets)
    for line in check_budget(study, len(facts.classes), facts.image_size):
        channel.say(line)
    if found is not None:
        identity.check_data(found, study.name, facts.fingerprint)
    if found is None or not is_whole(found):  # a mistake in a study that exists cannot be mended
        embeddings = check_teachers(study, sets, device, channel)
        found = _create(storage, study, facts, embeddings, channel)
    known = Found(found, StudyRecord(storage.engine, study.name))
    if not (request.replay or _begin_run(request, study, known, device, channel)):
        return
    ready = _teach(study, known, sets, device, channel)
    if request.views:
        bank = bank_of(study, found, sets, ready, device)
        checkpoints = checkpoint_folder(known.record)
        prepared = Prepared(data=sets.folder, bank=bank, checkpoints=checkpoints, device=str(device))
        teachers = study_facts(found).teachers or {}
        softness = partial(keep_softness, found, bank, sets.train.labels, teachers, channel)
        after_first = (lambda: None) if request.replay else softness
        make_views(builder_of(study, sets, bank, ready), prepared, channel, after_first)


def _begin_run(request: Request, study: Study, known: Found, device: torch.device, channel: Channel) -> bool:
    """Keeps what this run asks of the study, and reports it; whether a phase still wants trainings."""
    found, run = known.study, study.run
    finished = len(Trials.of(found).finished)
    target = identity.settle_target(found, request.values.get("run.trials"), finished, run.trials)
    if request.finalize or not request.join:
        identity.settle_finalists(found, study.finalists, given=is_given(request))
    keep(found, last_run=time.time(), preparing=this_process())
    _keep_places(found, study, mirrored=request.mirrored)
    _clean_state(known, run.storage)
    cuda = torch.cuda.device_count() if str(device) == "cuda" else int(device.type == "cuda")
    where = run.storage, run.tracking_uri, run.workers
    left = any(phase.target(found) > finished_in(found, phase.name) for phase in PHASES)
    channel.send(Created(study.name, *where, target, finished, left, cuda, study.hint_losses))
    return left


def _check_places(request: Request, run: RunConfig, channel: Channel) -> None:
    """Tests every place that later steps write to, so that an error comes before any training."""
    uri = tracking_uri(run.tracking_uri)
    check_cache()
    if request.views:
        check_state()
    if request.mirrored:
        check_store(uri, run.storage)
    check_url(run.storage)
    if is_empty_file(run.storage):
        channel.say(f"{place(run.storage)}: the file exists and is empty; a new study begins in it")


def _clean_state(known: Found, storage: str) -> None:
    """Removes the checkpoints that killed workers left for nobody."""
    folder = adopt_checkpoints(known.record, storage)
    remove_spent(folder, chain.from_iterable(map(Trials.of, with_phases(known.study))))
    remove_abandoned(folder)


def _teach(
    study: Study, known: Found, sets: SearchSets, device: torch.device, channel: Channel
) -> dict[str, Ready]:
    found, record = known
    for name in study_facts(found).given_teachers:
        if not study.teachers[name].checkpoint and record.file(weights_file(name)) is None:
            raise TeacherError(
                f"{place_of(name)}.checkpoint: study {study.name!r} was created with a file that is not "
                "stored yet; give that file, or wait for the machine that has it"
            )
    with channel.timed("teacher"):
        ready = prepare_teachers(study, sets, record, device, channel)
    facts = {name: each.facts for name, each in ready.items()}
    kept = study_facts(found).teachers
    if kept != {name: each.model_copy(update={"curve": ()}) for name, each in facts.items()}:
        keep(found, teachers={name: each.model_dump(exclude={"curve"}) for name, each in facts.items()})
    for name, each in facts.items():
        size = f"validation accuracy {each.accuracy:.2%}, {each.parameters:,} parameters"
        channel.say(f"teacher {label(name, each.model)}: {size} ({each.origin})")
    for line in [
        *(weak(facts, sets) if kept is None else ()),
        *outdone(facts, _best_alone(Trials.of(found))),
    ]:
        channel.say(line)
    return ready


def _best_alone(trials: Trials) -> float:
    """The best accuracy of a student that learned without a teacher; 0 if there is none."""
    students = ((trial, trial.facts.student) for trial in trials.finished)
    return max((trial.accuracy for trial, student in students if student and not student.losses), default=0.0)


def _keep_places(found: optuna.Study, study: Study, *, mirrored: bool) -> None:
    """Where images and MLflow are, for the commands that come later; no URI with a secret.

    Of a run that is mirrored, that is its place and no earlier one's; None is what the environment says.
    """
    if study.data.path is not None:
        keep(found, data_path=str(expanded(study.data.path).resolve()))
    uri = study.run.tracking_uri
    kept = uri if uri is not None and not has_secret(uri) else None
    if kept or mirrored:
        keep(found, tracking_uri=kept)
    if mirrored:
        keep(found, comparison=None)  # the mirror finds it anew


def _joined(request: Request) -> Study:
    """The study of that name in the storage: a machine that joins needs no study file."""
    values = request.values
    table = {key.removeprefix("run."): value for key, value in values.items() if key.startswith("run.")}
    run = read_record(Place("worker", "run"), table, RunConfig)
    storage = open_storage(run.storage, create=True)
    found = choose_study(storage, request.study)
    path = values.get("data.path") or study_facts(found).data_path
    study = identity.stored_study(found).replace("data.path", path)
    study = study.replace("finalists", asked_finalists(request, found).model_dump())
    storage.engine.dispose()  # two connections are all that a process has
    return study.replace("run", run.model_dump())


def _create(
    storage: StudyStorage, study: Study, facts: DataFacts, embeddings: list[int], channel: Channel
) -> optuna.Study:
    shape = facts.train, facts.channels, facts.image_size, facts.image_size
    size = view_bytes(shape, len(facts.classes), embeddings)
    views = affordable_views(study.views, size, study.max_epochs)
    channel.say(f"{views} views of {facts.train:,} training images, up to {size / 2**20:.0f} MiB each")
    return create_study(storage, study, facts, views)
