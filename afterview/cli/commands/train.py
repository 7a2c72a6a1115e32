"""`afterview train`: a training configuration, from start to end."""

import argparse
import os
from pathlib import Path

from afterview.cli.arguments import require_directory
from afterview.cli.models import require_weights
from afterview.cli.output.documents import dump
from afterview.cli.progress import announced, progress
from afterview.configs import ConfigError, ExitStatus, UsageError, missing_extra, read_yaml


def run(arguments: argparse.Namespace) -> int:
    """Train, or resume a training."""
    config = Path(arguments.config)
    if not os.path.isfile(config):
        what = "is not a file" if os.path.exists(config) else "no such file"
        raise UsageError(f"{arguments.config or 'CONFIG'}: {what}; configurations lie in configs/training/")
    require_directory("--out", arguments.out)
    _require_weights(config)
    try:
        with announced("starting"):
            from afterview.training.run import train  # late: loads torch
    except ModuleNotFoundError as error:
        if error.name != "accelerate":
            raise
        raise missing_extra("train", "training") from None

    trained = train(config, Path(arguments.out), resume=arguments.resume, cpu=arguments.cpu, progress=progress)
    if arguments.json:
        dump(trained.to_dict())
        return ExitStatus.OK
    print(f"{trained.model}  after {trained.steps} steps; use it as --model {trained.model}")
    print(f"{trained.curves}  loss and accuracy")
    if trained.items:
        counted = ", ".join(f"{count} {happened}" for happened, count in trained.items.items())
        print(f"{trained.report}  items that were not trained on, or not whole: {counted}")
    return ExitStatus.OK


def _require_weights(config: Path) -> None:
    """Raise NotPulled for the model that a stage starts from, before torch is loaded. What is wrong with the file, the training says."""
    try:
        found = read_yaml(config)
    except ConfigError:
        return
    model = found.get("model") if isinstance(found, dict) else None
    if isinstance(model, str):
        require_weights(model, with_index=False, whole_for="training")
