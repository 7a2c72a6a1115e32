"""`afterview evaluate worker`: answers a harness in another environment, over standard input and output."""

import argparse
import os
import sys
from pathlib import Path

from afterview.cli.arguments import require_directory, require_model
from afterview.cli.models import load_whole_model, require_weights
from afterview.configs import ExitStatus


def run(arguments: argparse.Namespace) -> int:
    """Answer until standard input ends."""
    require_model(arguments.model)
    require_directory("--work", arguments.work)
    require_weights(arguments.model, whole_for="an evaluation of answers")
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # whatever a library prints must not stand between the answers
        model = load_whole_model(arguments.model)
        from afterview.training.evaluation.worker import Worker, serve

        serve(Worker(model, Path(arguments.work)), sys.stdin, answers)
    return ExitStatus.OK
