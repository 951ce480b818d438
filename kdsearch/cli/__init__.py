"""The `kdsearch` command: parse, call `api`, print. No logic."""

import errno
import os
import sys
from typing import Any

import click

from kdsearch.cli.export import export_best
from kdsearch.cli.inspection import cache, front, show, views
from kdsearch.cli.mirror import sync, ui
from kdsearch.cli.predict import predict
from kdsearch.cli.replay import replay
from kdsearch.cli.studies import delete, finalize, init, run, status, studies, train, worker
from kdsearch.cli.teacher import teacher
from kdsearch.errors import KdsearchError
from kdsearch.names import visible

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # of a file that standard output is


class Commands(click.Group):
    """The only place that turns a KdsearchError, or a full disk, into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            if sys.stdout:  # none if it was closed before the start
                sys.stdout.flush()  # here, where what it cannot write can be said
        except KdsearchError as error:
            click.echo(f"Error: {visible(str(error))}", err=True)
            ctx.exit(error.exit_code)
        except OSError as error:
            if error.errno not in FULL or error.filename is not None or not sys.stdout:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more
            reason = f"standard output cannot be written ({error.strerror}); free some disk"
            click.echo(f"Error: {reason}", err=True)
            ctx.exit(1)
        return result


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kdsearch")
def main() -> None:
    """Find the best tiny image classifier that fits a parameter budget.

    \b
    kdsearch run                      search on the digits of scikit-learn, 100 trials
    kdsearch run my.toml --trials 50  search as a study file says
    kdsearch train s4                 train one published network
    kdsearch status                   show how far the study is
    kdsearch front                    show the most accurate trials for each size
    kdsearch show 12                  print the layers of the student that trial 12 trained
    kdsearch replay 12                train trial 12 again: are its numbers the same?
    kdsearch export-best              write the best student: weights, source, ONNX, model card
    kdsearch predict --help           how to classify images with it
    kdsearch ui                       compare the trials in MLflow
    """


STUDIES = (run, finalize, train, worker, init, status, studies, delete, export_best)
OTHERS = (predict, replay, sync, ui, front, show, views, cache, teacher)
for _command in (*STUDIES, *OTHERS):
    main.add_command(_command)
