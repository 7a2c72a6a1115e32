"""`afterview extract`: caches what training needs of videos and memories."""

import argparse
import os
from pathlib import Path

from afterview.cli.arguments import require_directory, require_model
from afterview.cli.output.documents import dump
from afterview.cli.progress import progress
from afterview.configs import UsageError
from afterview.memory.directory import Memory
from afterview.stream.source.address import parse_source
from afterview.stream.source.config import SourceConfig


def run(arguments: argparse.Namespace) -> int:
    """Extract every source; skip those that are in the bank already."""
    for text in arguments.sources:
        _require_source(text)
    _require_bank(arguments.out)
    require_model(arguments.model)
    sources = [Path(source) for source in arguments.sources]
    from afterview.training.data.extraction import extract  # late: loads torch

    with progress("extract", "sources") as report:
        extracted = extract(sources, arguments.model, Path(arguments.out), frames=arguments.frames, progress=report)
    if arguments.json:
        dump(extracted.to_dict())
    else:
        out = extracted.bank
        print(
            f'{out}  {len(extracted.made)} new; name them as "video" in annotations, and {out} in a training configuration'
        )
    return 0


def _require_source(text: str) -> None:
    """Raise UsageError, SourceError or MemoryNotFound unless `text` is a video file that can be read, or a memory."""
    if text.strip() and os.path.isdir(text):
        Memory(Path(text))
        return
    address = parse_source(text)
    if address.live:
        raise UsageError(f"{address.redacted}: is live; record it with `afterview watch`, and give the memory")
    from afterview.stream.source.probe import probe  # late: loads PyAV

    probe(address, SourceConfig())


def _require_bank(text: str) -> None:
    require_directory("--out", text)
    if next(Path(text).glob("*/camera.json"), None) is not None:
        raise UsageError(f"--out {text}: is a memory; give another directory for the features")
