"""`afterview train`: a training configuration, from beginning to end."""

import argparse
from pathlib import Path

from afterview.cli.output.documents import dump
from afterview.configs import UsageError, missing_extra


def run(arguments: argparse.Namespace) -> int:
    """Train, or go on training."""
    config = Path(arguments.config)
    if not config.is_file():
        raise UsageError(f"{config}: no such file; configurations lie in configs/training/")
    try:
        from afterview.training.run import train  # loads torch: not before the arguments make sense
    except ModuleNotFoundError as error:
        if error.name != "accelerate":
            raise
        raise missing_extra("train", "training") from None

    trained = train(config, Path(arguments.out), resume=arguments.resume, cpu=arguments.cpu)
    if arguments.json:
        dump(
            {
                "model": str(trained.model),
                "steps": trained.steps,
                "log": str(trained.log),
                "curves": str(trained.curves),
            }
        )
        return 0
    print(f"{trained.model}  after {trained.steps} steps; use it as --model {trained.model}")
    print(f"{trained.curves}  loss and accuracy")
    return 0
