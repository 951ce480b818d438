"""The comparison of a study's trials, ready to open in MLflow's UI.

MLflow keeps a saved view of an experiment's runs as a tag of the experiment. The form is MLflow's own and not
documented: a test opens it in a browser, and only versions of MLflow that are known to open it are given it.
"""

import json
import zlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from packaging.version import InvalidVersion, Version

from kdsearch.mirror.overview import SHOWN_RUNS
from kdsearch.mirror.runs import ALPHA, FAMILY, KIND_TAG, LOSS, STUDY_TAG, TRIAL

ACCURACY = "final_accuracy"
GENERATED = "Model metrics"  # where MLflow puts its own chart of each metric
SIZES = ("parameters", "macs")
COLUMNS = (FAMILY, LOSS, ALPHA, "training.learning_rate")
TESTED, UNKNOWN = Version("3.17"), Version("4.dev0")  # from the first to below the second


def view_tag(identity: str) -> str:
    """The experiment's tag that holds the view of the study with this identity."""
    return f"mlflow.sharedViewState.{_key(identity)}"


def _key(identity: str) -> str:
    return f"kdsearch-{identity[:8]}"


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
    view = f"&viewStateShareKey={_key(identity)}" if identity else ""
    query = f"workflowType=machine_learning{view}&compareRunsMode=CHART"
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs?{query}"


def saved_view(losses: Mapping[str, Sequence[str]], identity: str) -> str:
    """The tag's value: finished trials, best first, with charts that compare them.

    `losses` are the parameters that the study samples for each of its losses, by the loss's name.
    """
    state = zlib.compress(json.dumps(_state(losses, identity)).encode())
    envelope = {"name": "kdsearch", "createdAt": 0, "state": f"deflate;{b64encode(state).decode()}"}
    return json.dumps(envelope)


def _state(losses: Mapping[str, Sequence[str]], identity: str) -> dict[str, Any]:
    columns = [f"metrics.`{name}`" for name in (ACCURACY, *SIZES)] + [f"params.`{name}`" for name in COLUMNS]
    columns += [f"params.`{name}`" for names in losses.values() for name in names]
    sections = _sections(losses)
    return {
        "searchFilter": (
            f"attributes.status = 'FINISHED' and tags.`{KIND_TAG}` = '{TRIAL}' "
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


def _curves() -> dict[str, Any]:
    metric = {"metricKey": "val_accuracy", "selectedMetricKeys": ["val_accuracy"]}
    return {"type": "LINE", "displayName": "Learning curves", "xAxisKey": "step", **metric}
