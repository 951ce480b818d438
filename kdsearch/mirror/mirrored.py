"""The MLflow runs of one study, and what each of them has been sent."""

from collections.abc import Iterable, Iterator, Mapping

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelStatus, Metric, Param, Run, RunTag
from mlflow.entities.lifecycle_stage import LifecycleStage

from kdsearch.mirror.runs import LAYOUT, LAYOUT_TAG, NUMBER_TAGS, STUDY_TAG, Point
from kdsearch.mirror.view import OWN_NOTE

KEY_TAG = "kdsearch.run"  # which of its runs
PARENT = "study"  # the key of the run above all others
NOTE = "mlflow.note.content"
MODEL_LAYOUT = "1"  # raise it when models that were logged before are to be replaced
PAGE = 1000
METRICS_A_BATCH = 900
PARAMS_A_BATCH = 100

Batch = tuple[list[Metric], list[Param], list[RunTag]]


class MirroredRun:
    """One run; sends what it has not sent yet.

    Points that another process sent may go out again: equal points are one point in MLflow.
    """

    def __init__(self, client: MlflowClient, run: Run) -> None:
        self.client = client
        self.id: str = run.info.run_id
        self.status: str = run.info.status
        self.params: dict[str, str] = dict(run.data.params)
        self.tags: dict[str, str] = dict(run.data.tags)
        self.models = [output.model_id for output in run.outputs.model_outputs] if run.outputs else []
        self._sent: set[tuple[str, int]] = set()

    def has_model(self) -> bool:
        """Whether one of its models is whole, and as this version logs it."""
        return any(is_whole(self.client.get_logged_model(model)) for model in self.models)

    def shows(self, number: int, status: str) -> bool:
        """Whether a finished trial is here whole: its number goes with the last batch, its status later."""
        known = {self.tags[name] for name in NUMBER_TAGS if name in self.tags}
        return known == {str(number)} and self.status == status != "RUNNING"

    def send(self, points: Iterable[Point], params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """One `log_batch` if there is anything new, more only beyond MLflow's limits.

        A parameter cannot change in MLflow, so one that is there is left as it is.
        """
        new_points = [point for point in points if (point.key, point.step) not in self._sent]
        new_params = {name: value for name, value in params.items() if name not in self.params}
        new_tags = {name: value for name, value in tags.items() if self.tags.get(name) != value}
        metrics = [Metric(*point) for point in new_points]
        rest = [Param(*pair) for pair in new_params.items()], [RunTag(*pair) for pair in new_tags.items()]
        for some_metrics, some_params, some_tags in _batches(metrics, *rest):
            self.client.log_batch(self.id, some_metrics, some_params, some_tags)
        self._sent |= {(point.key, point.step) for point in new_points}
        self.params |= new_params
        self.tags |= new_tags

    def settle(self, status: str, end: int | None) -> None:
        """Makes the run's status `status`; `end` in milliseconds is when a run that is over ended."""
        if status == self.status:
            return
        if status == "RUNNING":
            self.client.update_run(self.id, status)
        else:
            self.client.set_terminated(self.id, status, end)
            self._sent.clear()
        self.status = status


class StudyRuns:
    """Finds or creates the runs of the study with the identity `study_id` in the experiment `name`.

    Found by tags, never by name, so that two studies of one name in two databases do not mix. If two
    mirrors, or a call whose answer was lost, have made one run twice, the elder stays and the other is marked
    deleted.
    """

    def __init__(self, client: MlflowClient, name: str, study_id: str) -> None:
        self.client = client
        self.study_id = study_id
        self.experiment, self._described = _experiment(client, name)
        self._runs: dict[str, MirroredRun] = {}
        self.outdated = 0  # runs of another layout, marked deleted: parameters cannot be changed in MLflow
        for run in self._search():
            self._keep(run)

    def get(self, key: str) -> MirroredRun | None:
        """The run that is known by `key`."""
        return self._runs.get(key)

    def ensure(self, key: str, name: str, start: int | None, tags: Mapping[str, str]) -> MirroredRun:
        """The run `key`; created if there is none, with the name, the start and the tags."""
        if key not in self._runs:
            own = {STUDY_TAG: self.study_id, KEY_TAG: key}
            if not self._found(key):
                self.client.create_run(self.experiment, start, {**tags, **own}, name)
            for run in self._found(key):
                self._keep(run)
        return self._runs[key]

    def describe(self, tags: Mapping[str, str]) -> None:
        """Sets the experiment's tags that are not there, or are others; a note of the user's stays."""
        for name, value in tags.items():
            known = self._described.get(name)
            if known != value and (name != NOTE or not known or known.startswith(OWN_NOTE)):
                self.client.set_experiment_tag(self.experiment, name, value)
                self._described[name] = value

    def delete(self) -> None:
        """Marks all the study's runs deleted."""
        for run in self._runs.values():
            self.client.delete_run(run.id)
        self._runs.clear()

    def _keep(self, run: Run) -> None:
        key = run.data.tags[KEY_TAG]
        if key != PARENT and run.data.tags.get(LAYOUT_TAG) != LAYOUT:
            self.client.delete_run(run.info.run_id)
            self.outdated += 1
        elif key in self._runs:
            self.client.delete_run(run.info.run_id)
        else:
            self._runs[key] = MirroredRun(self.client, run)

    def _found(self, key: str) -> list[Run]:
        return list(self._search(f" and tags.`{KEY_TAG}` = '{key}'"))

    def _search(self, condition: str = "") -> Iterator[Run]:
        where = f"tags.`{STUDY_TAG}` = '{self.study_id}'{condition}"
        order = ["attributes.start_time ASC", "attributes.run_id ASC"]
        token: str | None = None
        while token != "":
            page = self.client.search_runs(
                [self.experiment], where, max_results=PAGE, order_by=order, page_token=token
            )
            yield from page
            token = page.token or ""


def is_whole(model: LoggedModel) -> bool:
    """Whether the logging of a model was not broken off, nor done by another version."""
    return bool(model.status == LoggedModelStatus.READY and model.tags.get(LAYOUT_TAG) == MODEL_LAYOUT)


def _experiment(client: MlflowClient, name: str) -> tuple[str, dict[str, str]]:
    """The id and the tags of the experiment of that name, made or restored if it must be."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return str(client.create_experiment(name)), {}
    if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id), dict(experiment.tags)


def _batches(metrics: list[Metric], params: list[Param], tags: list[RunTag]) -> Iterator[Batch]:
    """Within MLflow's limits; the tags go last, since they say that all is there."""
    while len(metrics) > METRICS_A_BATCH or len(params) > PARAMS_A_BATCH:
        yield metrics[:METRICS_A_BATCH], params[:PARAMS_A_BATCH], []
        metrics, params = metrics[METRICS_A_BATCH:], params[PARAMS_A_BATCH:]
    if metrics or params or tags:
        yield metrics, params, tags
