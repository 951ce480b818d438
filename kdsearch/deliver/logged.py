"""The best student in MLflow, logged by a process of its own: it alone loads both torch and MLflow."""

from importlib.metadata import version
from multiprocessing.connection import Connection

import torch._dynamo  # noqa: F401  torch.export would load it, seconds long, when it is called

from kdsearch.deliver.best import find_winner
from kdsearch.search.child import child
from kdsearch.search.identity import open_study
from kdsearch.search.storage import open_storage
from kdsearch.tracking.model import Sizes, log_best_model
from kdsearch.tracking.record import StudyRecord


def log_process(connection: Connection, storage: str, name: str, uri: str, run_id: str) -> None:
    """The whole life of that process; says through the channel what went wrong."""
    with child(connection):
        study = open_study(open_storage(storage), name)
        winner = find_winner(study, StudyRecord(storage, name))
        sizes = Sizes(study.user_attrs["data"]["image_size"], winner.config.classes)
        needed = [f"torch=={version('torch').partition('+')[0]}"]
        log_best_model(uri, run_id, winner.student(), sizes, needed)
