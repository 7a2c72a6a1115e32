"""`afterview evaluate worker`: answers a harness in another environment, over standard input and output."""

import argparse
import os
import sys
from pathlib import Path

from afterview.cli.arguments import require_directory, require_model
from afterview.cli.models import require_weights
from afterview.cli.progress import announced
from afterview.configs import ExitStatus


def run(arguments: argparse.Namespace) -> int:
    """Answer until standard input ends."""
    require_model(arguments.model)
    require_weights(arguments.model, whole_for="an evaluation of answers")
    require_directory("--work", arguments.work)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # whatever a library prints must not stand between the answers
        with announced("starting"):
            from afterview.model.checkpoint.loading import load_pretrained  # late: loads torch
            from afterview.training.evaluation.worker import Worker, serve
        with announced(f"loading model {arguments.model}"):
            worker = Worker(load_pretrained(arguments.model), Path(arguments.work))
        serve(worker, sys.stdin.buffer, answers)
    return ExitStatus.OK
