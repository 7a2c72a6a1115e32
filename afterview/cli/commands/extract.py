"""`afterview extract`: caches what training needs of videos and memories."""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from afterview.cli.arguments import memory_path, require_count, require_directory, require_model
from afterview.cli.models import require_weights
from afterview.cli.output.documents import dump, print_skipped
from afterview.cli.progress import announced, progress
from afterview.configs import ExitStatus, UsageError
from afterview.memory.base.counts import counted
from afterview.memory.directory import Memory
from afterview.stream.errors import SourceError
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.config import SourceConfig

if TYPE_CHECKING:
    from afterview.training.data.extraction import Extraction


def run(arguments: argparse.Namespace) -> int:
    """Extract every source; skip those that are in the bank already."""
    failed = {text: why for text in arguments.sources if (why := _fault(text, alone=len(arguments.sources) == 1))}
    _require_bank(arguments.out)
    require_count("--ray", arguments.ray, 0)
    if arguments.root is not None and not os.path.isdir(arguments.root):
        raise UsageError(f"--root {arguments.root}: is not a directory")
    require_model(arguments.model)
    sources = [Path(source) for source in dict.fromkeys(arguments.sources) if source not in failed]
    if arguments.memory is not None:
        sources.append(memory_path(arguments.memory))
    if not sources:
        raise UsageError("no source can be read: " + "; ".join(f"{text}: {why}" for text, why in failed.items()))
    require_weights(arguments.model, with_index=False, whole_for="extracting for a training")  # a bank has no index
    with announced("starting"):
        from afterview.training.data.extraction import extract  # late: loads torch

    root = None if arguments.root is None else Path(arguments.root)
    options = {"root": root, "frames": arguments.frames, "damaged": arguments.damaged, "progress": progress}
    if arguments.ray:
        from afterview.training.data.ray_extraction import extract_with_ray  # late: it loads Ray

        extracted = extract_with_ray(sources, arguments.model, Path(arguments.out), workers=arguments.ray, **options)
    else:
        extracted = extract(sources, arguments.model, Path(arguments.out), **options)
    extracted = replace(extracted, failed={**failed, **extracted.failed})
    if arguments.json:
        dump(extracted.to_dict(), arguments.memory)
    else:
        _show(extracted)
    # A bank that lacks a video must not be trained on by mistake.
    return ExitStatus.FAILURE if extracted.skipped or extracted.failed else ExitStatus.OK


def _show(extracted: "Extraction") -> None:
    out = extracted.bank
    print(
        f'{out}  {len(extracted.made)} new; name them as "video" in annotations, and {out} in a training configuration'
    )
    print_skipped(extracted.damaged, "damaged")
    print_skipped(extracted.skipped, "left out")
    print_skipped(extracted.failed, "failed")
    if extracted.failed:
        print(f"{counted(len(extracted.failed), 'source')} failed; the others are in {out}")


def _fault(text: str, *, alone: bool) -> str:
    """Why a source cannot be read; empty if it can. Raises UsageError or MemoryNotFound for what is no file, and if it is the only one."""
    if text.strip() and os.path.isdir(text):
        Memory(Path(text))
        return ""
    try:
        address = parse_source(text)
        if address.live:
            raise UsageError(f"{address.redacted}: is live; record it with `afterview watch`, and give the memory")
        from afterview.stream.source.probe import probe  # late: loads PyAV

        if not text.lower().endswith(".pt"):  # published features, which extraction reads
            probe(address, SourceConfig())
    except (SourceError, UsageError) as error:
        if alone or not text.strip() or "://" in text:
            raise
        return str(error).removeprefix(f"{text}: ")
    return ""


def _require_bank(text: str) -> None:
    require_directory("--out", text)
    if next(Path(text).glob("*/camera.json"), None) is not None:
        raise UsageError(f"--out {text}: is a memory; give another directory for the features")
