"""`python -m afterview.training.tiny CONFIG --out DIR [--minutes M]`: make the small model, or continue making it."""

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from afterview.configs import AfterviewError, load
from afterview.training.tiny.make import make
from afterview.training.tiny.recipe import Recipe


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 finished, 3 if the time ran out (run the command again), 1 or 2 for an error, as `afterview train`."""
    parser = argparse.ArgumentParser(prog="python -m afterview.training.tiny", description=main.__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop after this time; run again to continue"
    )
    parser.add_argument("--cpu", action="store_true")
    arguments = parser.parse_args(argv)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("afterview").setLevel(logging.INFO)  # status lines on standard error
    deadline = time.monotonic() + 60 * arguments.minutes
    try:
        done = make(load(arguments.config, Recipe), arguments.out, deadline=deadline, cpu=arguments.cpu)
    except (AfterviewError, OSError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return error.exit_status if isinstance(error, AfterviewError) else 1
    return 0 if done else 3


if __name__ == "__main__":
    sys.exit(main())
