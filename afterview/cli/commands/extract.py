"""`afterview extract`: what training reads of videos and memories, cached once."""

import argparse
import sys
import time
from pathlib import Path

from afterview.cli.output.documents import dump
from afterview.configs import UsageError
from afterview.memory.directory import Memory
from afterview.training.data.features import BankKind, holds


def run(arguments: argparse.Namespace) -> int:
    """Take every source in; those that are in the bank already are passed over."""
    sources = [Path(source) for source in arguments.sources]
    for source in sources:
        if not source.exists():
            raise UsageError(f"{source}: no such file or directory; give videos, or memories")
    _require_names(sources)
    from afterview.model.checkpoint.loading import load_encoders  # loads torch: not before the arguments make sense
    from afterview.training.data.extraction import extract_camera, extract_video, require_bank

    encoders, out, began = load_encoders(arguments.model), Path(arguments.out), time.monotonic()
    require_bank(out, encoders, frames=arguments.frames)
    kind: BankKind = "frames" if arguments.frames else "features"
    made: list[str] = []
    for source in sources:
        if source.is_dir():
            for reader in Memory(source).cameras():
                if not holds(out, reader.info.id, kind):
                    extract_camera(reader, reader.info.id, out, frames=arguments.frames)
                    made.append(reader.info.id)
        elif extract_video(source, encoders, out, frames=arguments.frames):
            made.append(source.name)
        print(f"{source}: in {out}", file=sys.stderr, flush=True)
    if arguments.json:
        dump({"bank": str(out), "made": made, "seconds": round(time.monotonic() - began, 1)})
    else:
        print(f'{out}  {len(made)} new; name them as "video" in annotations, and {out} in a training configuration')
    return 0


def _require_names(sources: list[Path]) -> None:
    """A bank knows its videos by their names without suffix, so two sources of one name would be one."""
    names: dict[str, Path] = {}
    for source in sources:
        for name in [reader.info.id for reader in Memory(source).cameras()] if source.is_dir() else [source.stem]:
            if name in names:
                raise UsageError(
                    f"{names[name]} and {source} would both be '{name}' in the bank; rename one, or use two banks"
                )
            names[name] = source
