"""`afterview train`: a training configuration, from start to end."""

import argparse
from pathlib import Path

from afterview.cli.output.documents import dump
from afterview.configs import UsageError, missing_extra


def run(arguments: argparse.Namespace) -> int:
    """Train, or resume a training."""
    config = Path(arguments.config)
    if not config.is_file():
        raise UsageError(f"{config}: no such file; configurations lie in configs/training/")
    try:
        from afterview.training.run import train  # late: loads torch
    except ModuleNotFoundError as error:
        if error.name != "accelerate":
            raise
        raise missing_extra("train", "training") from None

    trained = train(config, Path(arguments.out), resume=arguments.resume, cpu=arguments.cpu)
    if arguments.json:
        dump(trained.to_dict())
        return 0
    print(f"{trained.model}  after {trained.steps} steps; use it as --model {trained.model}")
    print(f"{trained.curves}  loss and accuracy")
    return 0
