"""The mirror: makes MLflow equal to the record, again and again."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Literal

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.exceptions import MlflowException

from kdsearch.mirror.mirrored import NOTE, PARENT, MirroredRun, StudyRuns
from kdsearch.mirror.runs import (
    FINALIST,
    KIND_TAG,
    LAYOUT,
    LAYOUT_TAG,
    STATUS,
    STUDY,
    TEACHER,
    StudyRow,
    TrialRow,
    has_run,
    milliseconds,
    rounded,
    run_name,
    shown,
    study_params,
    teacher_points,
    trial_params,
    trial_points,
    trial_tags,
)
from kdsearch.mirror.store import open_client, version_at
from kdsearch.mirror.uri import MirrorUnavailableError, reaching, sqlite_file
from kdsearch.mirror.view import address, note, opens_views, runs_page, saved_views, study_points
from kdsearch.store.record import StudyRecord
from kdsearch.store.runs import TEACHER as TEACHING
from kdsearch.store.runs import Run
from kdsearch.urls import masked

NAME = "mlflow.runName"


class Mirror:
    """One study in MLflow: a parent run, below it a run for each teacher and for each run of a trial.

    It only ever adds what is missing, so a tick may be repeated, broken off or run by several processes at
    once. After an error, or when MLflow has lost the parent, it forgets what it knew and asks MLflow what is
    there. `study` may be replaced between ticks, once data or teacher are known.
    """

    def __init__(
        self,
        tracking_uri: str,
        study: StudyRow,
        record: StudyRecord,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.study = study
        self.record = record
        self.moved = time.monotonic()  # when MLflow last took something, on the monotonic clock
        self.say = say
        self._uri = tracking_uri
        self._client: MlflowClient | None = None
        self._runs: StudyRuns | None = None
        self._opens_views = False  # of the MLflow that was asked with the runs
        self._described: StudyRow | None = None  # the study whose file and data sets MLflow has

    def tick(self, trials: Sequence[TrialRow], *, live: bool = True) -> None:
        """Sends what is new; of running trials only if `live`, since few epochs cost about as much as all.

        Raises MirrorUnavailableError, at most some seconds later, if it cannot.
        """
        with self._reaching():
            runs = self._checked_runs()
            parent = self._parent(runs, trials)
            begun = any(trial.state != "WAITING" for trial in trials)
            for name in self.study.teachers:
                self._teacher(runs, parent, name, begun)
            for trial in shown(trials):
                self.moved = time.monotonic()
                if live or trial.state != "RUNNING":
                    self._trial(runs, parent, trial)
            self._describe(parent)
            self._overview(runs, parent, trials)

    def close(self, status: Literal["FINISHED", "KILLED", "FAILED"]) -> None:
        """Ends the parent run; a later tick with a running trial opens it again. Raises as `tick`."""
        with self._reaching():
            self._parent(self._checked_runs(), []).settle(status, milliseconds(time.time()))

    def delete_runs(self) -> None:
        """Marks the study's runs deleted; to be called before the record goes. Raises as `tick`.

        Makes no store and no experiment if there are none.
        """
        with self._reaching():
            self._runs = None
            store = sqlite_file(self._uri)
            if store and not store.exists():
                return
            found = self.client.get_experiment_by_name(self.study.name)
            if found and found.lifecycle_stage == "active":
                StudyRuns(self.client, self.study.name, self.record.identity()).delete()

    def run_id(self, run: Run) -> str | None:
        """The id of a trial's run, as of the last tick that ended well."""
        mirrored = self._runs.get(run.key) if self._runs else None
        return mirrored.id if mirrored else None

    def awaits_model(self, run: Run) -> str | None:
        """As `run_id`, if the run has no whole model."""
        mirrored = self._runs.get(run.key) if self._runs else None
        with suppress(MirrorUnavailableError), reaching(self._uri):
            if mirrored and mirrored.has_model():
                return None
        return mirrored.id if mirrored else None

    def page(self, server: str | None = None) -> str | None:
        """The page of `server`, or of the store if that is one, that compares the trials.

        Known after the first tick.
        """
        server = server or (masked(self._uri) if self._uri.startswith("http") else None)
        if self._runs is None or server is None:
            return None
        return address(server, self._runs.experiment, self._runs.study_id if self._opens_views else None)

    @property
    def client(self) -> MlflowClient:
        """Made on first use, which may make MLflow's store and so take seconds."""
        if self._client is None:
            self._client = open_client(self._uri)
            self.moved = time.monotonic()
        return self._client

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            with reaching(self._uri):
                yield
        except MirrorUnavailableError:
            self._runs = None
            raise

    def _checked_runs(self) -> StudyRuns:
        """The runs as remembered, or as MLflow has them now if it was wiped in between."""
        known = self._runs.get(PARENT) if self._runs else None
        if self._runs is None or known is None or not self._is_there(known):
            self._described = None
            self._runs = StudyRuns(self.client, self.study.name, self.record.identity())
            self._opens_views = opens_views(version_at(self._uri))
            if self._runs.outdated:
                self.say(
                    f"{self._runs.outdated} runs that an older kdsearch wrote to MLflow are written anew"
                )
        return self._runs

    def _is_there(self, run: MirroredRun) -> bool:
        try:
            found = self.client.get_run(run.id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        run.status = found.info.status
        return bool(found.info.lifecycle_stage == "active")

    def _parent(self, runs: StudyRuns, trials: Sequence[TrialRow]) -> MirroredRun:
        start = min((trial.started for trial in trials if trial.started), default=time.time())
        tags = {KIND_TAG: STUDY, LAYOUT_TAG: LAYOUT, "mlflow.source.name": "kdsearch"}
        parent = runs.ensure(PARENT, self.study.name, milliseconds(start), tags)
        ran = next((trial.tags for trial in trials if trial.tags), {})
        # What is there stays: tags of trials are what differs from it.
        tags |= {name: value for name, value in ran.items() if name not in parent.tags}
        parent.send([], study_params(self.study), tags)
        if any(trial.state == "RUNNING" for trial in trials):
            parent.settle("RUNNING", None)
        return parent

    def _teacher(self, runs: StudyRuns, parent: MirroredRun, name: str, begun: bool) -> None:
        """A teacher's curve; its run is over once a trial has begun, since trials need it."""
        known, facts = runs.get(name), self.study.teachers[name]
        if known and known.status == "FINISHED" and self._described == self.study:
            return
        results = self.record.epochs(Run(TEACHING, list(self.study.teachers).index(name), 0))
        if not results and not (begun and facts):
            return
        start = milliseconds(results[0].finished_at - results[0].seconds if results else time.time())
        tags = {"mlflow.parentRunId": parent.id, KIND_TAG: TEACHER, LAYOUT_TAG: LAYOUT}
        tags |= {"family": str(facts["model"])} if "model" in facts else {}
        run = runs.ensure(name, name, start, tags)
        params = {key: rounded(value) for key, value in facts.items()}
        run.send(teacher_points(facts, results), params if begun else {}, tags)
        if begun:
            run.settle("FINISHED", milliseconds(results[-1].finished_at) if results else start)

    def _trial(self, runs: StudyRuns, parent: MirroredRun, trial: TrialRow) -> None:
        run = runs.get(trial.run.key)
        status = STATUS[trial.state]
        nested = {"mlflow.parentRunId": parent.id}
        if run and run.shows(trial.number, status) and nested.items() <= run.tags.items():
            if trial.state == "COMPLETE":  # another one may have become the best since this was sent
                run.send([], {}, {NAME: run_name(self.study, trial, [])})
            return
        results = self.record.epochs(trial.run)
        if run is None and not has_run(trial, results):
            return
        tags = trial_tags(self.study, trial, results, parent.tags) | nested
        if run is None:
            run = runs.ensure(trial.run.key, tags[NAME], milliseconds(trial.started), tags)
        run.send(trial_points(trial, results), trial_params(trial), tags)
        run.settle(status, milliseconds(trial.finished))

    def _overview(self, runs: StudyRuns, parent: MirroredRun, trials: Sequence[TrialRow]) -> None:
        """Metrics and note of the whole study, and the views that compare its trials and its finalists."""
        identity, finalists = runs.study_id, any(trial.candidate for trial in trials)
        page = runs_page(runs.experiment, identity, FINALIST) if finalists and self._opens_views else None
        text = note(self.study, trials, page)
        parent.send(study_points(self.study, trials), {}, {NOTE: text})
        views = saved_views(self.study.losses, identity, finalists=finalists) if self._opens_views else ()
        runs.describe({NOTE: text, **dict(views)})

    def _describe(self, parent: MirroredRun) -> None:
        """The study file and the data sets, last: a server may take metrics and yet refuse files."""
        if self._described == self.study:
            return
        data = self.study.data
        if data:
            self.client.log_inputs(parent.id, [_input(data, part) for part in ("train", "validation")])
        self.client.log_text(parent.id, self.study.file_text, "study.toml")
        self._described = self.study


def _input(data: dict[str, object], part: str) -> DatasetInput:
    profile = json.dumps({"images": data.get(part), "classes": data.get("classes")}, default=str)
    dataset = Dataset(
        name=f"{data.get('name')} {part}",
        digest=str(data.get("fingerprint"))[:36],  # the most that MLflow takes
        source_type="kdsearch",
        source=str(data.get("name")),
        profile=profile,
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", part)])
