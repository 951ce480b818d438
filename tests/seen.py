"""What a user sees of a study in MLflow, and a record to show there."""

from itertools import count

from mlflow import MlflowClient
from mlflow.entities import ViewType

from kdsearch.mirror.runs import StudyRow
from kdsearch.store.runs import SEARCH, TEACHER, Run

NAMES = count()


class Seen:
    """What a user sees of one study in MLflow."""

    def __init__(self, uri, study):
        self.client = MlflowClient(uri)
        found = self.client.get_experiment_by_name(study.name)
        view = found and self.client.search_runs([found.experiment_id], run_view_type=ViewType.ACTIVE_ONLY)
        self.runs = {self.name(run): run for run in view or []}
        assert len(self.runs) == len(view or [])

    @staticmethod
    def name(run):
        """A trial's number does not change while its run's name does."""
        number = run.data.tags.get("trial")
        return run.info.run_name if number is None else f"trial {number}"

    def statuses(self):
        return {name: run.info.status for name, run in self.runs.items()}

    def points(self, name, metric):
        history = self.client.get_metric_history(self.runs[name].info.run_id, metric)
        return [(point.step, point.timestamp, point.value) for point in sorted(history, key=lambda p: p.step)]

    def everything(self):
        """All that does not depend on when it was mirrored, comparable with ==."""
        facts = {}
        for name, run in self.runs.items():
            curves = {metric: repr(self.points(name, metric)) for metric in run.data.metrics}
            facts[name] = run.info.status, run.info.start_time, run.data.params, curves
        return facts


def filled(record, epoch, runs, epochs=2):
    """Runs are places of the search, or TEACHER."""
    for each in runs:
        run = Run(TEACHER, 0, 0) if each == TEACHER else Run(SEARCH, each, 0)
        for number in range(1, epochs + 1):
            record.epoch(run, epoch(number))


def distinct(study: StudyRow) -> StudyRow:
    """The study under a name of its own: tests share a store."""
    return study.model_copy(update={"name": f"digits-{next(NAMES)}"})
