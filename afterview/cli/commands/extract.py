"""`afterview extract`: caches what training needs of videos and memories."""

import argparse
from pathlib import Path

from afterview.cli.arguments import memory_path
from afterview.cli.output.documents import dump
from afterview.cli.progress import progress
from afterview.configs import UsageError


def run(arguments: argparse.Namespace) -> int:
    """Extract every source; skip those that are in the bank already."""
    sources = [Path(source) for source in arguments.sources]
    if arguments.memory is not None:
        sources.append(memory_path(arguments.memory))
    for source in sources:
        if not source.exists():
            raise UsageError(f"{source}: no such file or directory; give videos, or memories")
    from afterview.training.data.extraction import extract  # late: loads torch

    with progress("extract", "sources") as report:
        extracted = extract(sources, arguments.model, Path(arguments.out), frames=arguments.frames, progress=report)
    if arguments.json:
        dump(extracted.to_dict(), arguments.memory)
    else:
        out = extracted.bank
        print(
            f'{out}  {len(extracted.made)} new; name them as "video" in annotations, and {out} in a training configuration'
        )
    return 0
