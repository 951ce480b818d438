"""A study in MLflow's UI: metrics of the parent run, a note in three lines, views that compare trials.

MLflow keeps a saved view of an experiment's runs as a tag of the experiment. The form is MLflow's own and not
documented: a test opens it in a browser, and only versions of MLflow that are known to open it are given it.
"""

import json
import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from packaging.version import InvalidVersion, Version

from kdsearch.mirror.runs import (
    ALPHA,
    FAMILY,
    FINALIST,
    KIND_TAG,
    LOSS,
    STUDY_TAG,
    TRIAL,
    Point,
    StudyRow,
    TrialRow,
    milliseconds,
)

SHOWN_RUNS = 100  # that MLflow's page of runs loads at once
OWN_NOTE = "**Best**: "  # how each note begins: one that does not is the user's

ACCURACY = "final_accuracy"
GENERATED = "Model metrics"  # where MLflow puts its own chart of each metric
SIZES = ("parameters", "macs")
COLUMNS = (FAMILY, LOSS, ALPHA, "training.learning_rate")
TESTED, UNKNOWN = Version("3.17"), Version("4.dev0")  # from the first to below the second


def best_of(study: StudyRow, trials: Sequence[TrialRow]) -> TrialRow | None:
    """The study's best trial, if it is among `trials`."""
    return next((row for row in trials if row.state == "COMPLETE" and row.run.key == study.best), None)


def study_points(study: StudyRow, trials: Sequence[TrialRow]) -> Iterator[Point]:
    """How the study stands, at the step of the trials that have ended: equal trials give equal points."""
    searched = (row for row in trials if row.candidate is None)
    ended = [row for row in searched if row.state in ("COMPLETE", "PRUNED") or row.failed]
    moment = milliseconds(max((row.finished or 0.0 for row in ended), default=0.0))
    values: dict[str, float | None] = {}
    if best := best_of(study, trials):
        values = {"best_accuracy": best.value, "best_parameters": best.parameters, "best_macs": best.macs}
        values["best_trial"] = best.number
    pruned, failed = sum(row.state == "PRUNED" for row in ended), sum(row.failed for row in ended)
    values |= {"finished": len(ended) - failed, "pruned": pruned, "failed": failed}
    accuracies = (float(facts["accuracy"]) for facts in study.teachers.values() if "accuracy" in facts)
    values["teacher_accuracy"] = max(accuracies, default=None)
    for name, value in values.items() if ended else ():
        if value is not None:
            yield Point(name, value, moment, len(ended))


def note(study: StudyRow, trials: Sequence[TrialRow], finalists: str | None = None) -> str:
    """Three lines above the table of runs: the best trial, the teacher, how to read the table.

    MLflow shows the first one until it is unfolded; that links to the page of the finalists, if there is one.
    """
    best = best_of(study, trials)
    first = "no trial has finished yet."
    if best:
        size = f"{best.parameters:,} parameters, {best.macs:,} multiply-adds"
        first = f"trial {best.number}, {_percent(best.value or 0.0)} on the validation images, {size}."
    taught = (
        f"{facts['model']}, {_percent(facts['accuracy'])}"
        for facts in study.teachers.values()
        if "accuracy" in facts
    )
    finished = sum(row.state in ("COMPLETE", "PRUNED") for row in trials if row.candidate is None)
    read = (
        f"**How to read**: {finished} of {study.target} trials have finished; a run's name says its number, "
        f"family, loss, size and accuracy or end. The view `kdsearch` compares the best {SHOWN_RUNS}."
    )
    link = f" [Each seed of the finalists]({finalists})" if finalists else ""
    return "\n\n".join([OWN_NOTE + first + link, f"**Teacher**: {'; '.join(taught) or 'none'}.", read])


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def view_tag(identity: str, kind: str = TRIAL) -> str:
    """The experiment's tag that holds the view of the study with this identity, of runs of this kind."""
    return f"mlflow.sharedViewState.{_key(identity, kind)}"


def _key(identity: str, kind: str) -> str:
    return f"kdsearch-{identity[:8]}" + (f"-{kind}" if kind != TRIAL else "")


def opens_views(version: str) -> bool:
    """Whether an MLflow of that version, as it calls itself, is known to open the view."""
    try:
        return TESTED <= Version(version) < UNKNOWN
    except InvalidVersion:
        return False


def address(server: str, experiment: str, identity: str | None) -> str:
    """The page of runs, on the tracking server of that URL, in the experiment of that id.

    With the view of the study that has this identity; without one, MLflow's own charts.
    """
    return f"{server.rstrip('/')}/{runs_page(experiment, identity)}"


def runs_page(experiment: str, identity: str | None, kind: str = TRIAL) -> str:
    """That page, or the one with the view of another kind of runs, as a link within MLflow."""
    view = f"&viewStateShareKey={_key(identity, kind)}" if identity else ""
    return f"#/experiments/{experiment}/runs?workflowType=machine_learning{view}&compareRunsMode=CHART"


def saved_views(
    losses: Mapping[str, Sequence[str]], identity: str, *, finalists: bool
) -> Iterator[tuple[str, str]]:
    """The views as tags: finished trials, best first, and finalists' trainings, with charts of them.

    `losses` are the parameters that the study samples for each of its losses, by the loss's name.
    """
    params = *COLUMNS, *(name for names in losses.values() for name in names)
    yield view_tag(identity), _saved("kdsearch", _state(identity, TRIAL, params, _sections(losses)))
    if finalists:
        state = _state(identity, FINALIST, COLUMNS, {"Each seed of the finalists": [_seeds(), _curves()]})
        groups = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": FINALIST}]}
        state |= {"groupBy": groups, "useGroupedValuesInCharts": False}
        yield view_tag(identity, FINALIST), _saved("finalists", state)


def _saved(name: str, state: dict[str, Any]) -> str:
    packed = b64encode(zlib.compress(json.dumps(state).encode())).decode()
    return json.dumps({"name": name, "createdAt": 0, "state": f"deflate;{packed}"})


def _state(
    identity: str, kind: str, params: Sequence[str], sections: Mapping[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    columns = [f"metrics.`{name}`" for name in (ACCURACY, *SIZES)] + [f"params.`{name}`" for name in params]
    return {
        "searchFilter": (
            f"attributes.status = 'FINISHED' and tags.`{KIND_TAG}` = '{kind}' "
            f"and tags.`{STUDY_TAG}` = '{identity}'"
        ),
        "orderByKey": f"metrics.`{ACCURACY}`",
        "orderByAsc": False,
        "lifecycleFilter": "Active",
        "selectedColumns": columns,
        "runsHiddenMode": "SHOW_ALL",
        "isAccordionReordered": True,  # else the sections are sorted by name
        "compareRunSections": [
            *(_section(name, len(charts)) for name, charts in sections.items()),
            _section(GENERATED, 3) | {"display": False},
        ],
        "compareRunCharts": [
            _card(name, number, chart)
            for name, charts in sections.items()
            for number, chart in enumerate(charts)
        ],
    }


def _section(name: str, charts: int) -> dict[str, Any]:
    shape = {"columns": min(charts, 3), "cardHeight": 400}
    return {"uuid": name, "name": name, "display": True, "isReordered": True, **shape}


def _card(section: str, number: int, chart: dict[str, Any]) -> dict[str, Any]:
    common = {"metricSectionId": section, "deleted": False, "isGenerated": False}
    return {"uuid": f"{section} {number}", **common, "runsCountToCompare": SHOWN_RUNS, **chart}


def _sections(losses: Mapping[str, Sequence[str]]) -> dict[str, list[dict[str, Any]]]:
    """The charts under their headings: MLflow gives parallel coordinates no title of their own.

    Those that it draws slowest come last, since it draws what is out of the window only on the way there.
    """
    own = [_parallel((ALPHA, *names), ()) for names in losses.values() if names]
    return {
        f"The best trials, {SHOWN_RUNS} at most": [_parallel((LOSS, ALPHA, FAMILY), SIZES)],
        **({"Each loss": own} if own else {}),
        "Sizes and curves": [*map(_scatter, SIZES), _curves()],
    }


def _parallel(params: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    """The last metric colours the lines; a trial that lacks one of the parameters is not drawn."""
    chosen = {"selectedParams": list(params), "selectedMetrics": [*metrics, ACCURACY]}
    return {"type": "PARALLEL", "showAllRuns": True, **chosen}


def _scatter(size: str) -> dict[str, Any]:
    axes = {name: {"key": key, "type": "METRIC"} for name, key in (("xaxis", size), ("yaxis", ACCURACY))}
    return {"type": "SCATTER", "displayName": f"Accuracy over {size}", **axes}


def _seeds() -> dict[str, Any]:
    """A column of points for each finalist: MLflow has no chart of groups that shows their single runs."""
    axes = {"xaxis": {"key": FINALIST, "type": "PARAM"}, "yaxis": {"key": ACCURACY, "type": "METRIC"}}
    return {"type": "SCATTER", **axes}


def _curves() -> dict[str, Any]:
    metric = {"metricKey": "val_accuracy", "selectedMetricKeys": ["val_accuracy"]}
    return {"type": "LINE", "displayName": "Learning curves", "xAxisKey": "step", **metric}
