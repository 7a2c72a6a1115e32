"""`afterview extract`: caches what training needs of videos and memories."""

import argparse
import os
from pathlib import Path

from afterview.cli.arguments import memory_path, require_directory, require_model
from afterview.cli.output.documents import dump, print_skipped
from afterview.cli.progress import announced, progress
from afterview.configs import ExitStatus, UsageError
from afterview.memory.directory import Memory
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.config import SourceConfig


def run(arguments: argparse.Namespace) -> int:
    """Extract every source; skip those that are in the bank already."""
    for text in arguments.sources:
        _require_source(text)
    _require_bank(arguments.out)
    require_model(arguments.model)
    sources = [Path(source) for source in arguments.sources]
    if arguments.memory is not None:
        sources.append(memory_path(arguments.memory))
    with announced("starting"):
        from afterview.training.data.extraction import extract  # late: loads torch

    extracted = extract(sources, arguments.model, Path(arguments.out), frames=arguments.frames, progress=progress)
    if arguments.json:
        dump(extracted.to_dict(), arguments.memory)
    else:
        out = extracted.bank
        print(
            f'{out}  {len(extracted.made)} new; name them as "video" in annotations, and {out} in a training configuration'
        )
        print_skipped(extracted.skipped, "left out")
    # A bank that lacks a camera must not be trained on by mistake.
    return ExitStatus.FAILURE if extracted.skipped else ExitStatus.OK


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
