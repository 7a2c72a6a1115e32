"""`afterview info`. Loads neither torch nor faiss."""

import argparse
from typing import Any

from afterview.cli.arguments import readable_memory
from afterview.cli.output.documents import describe_gap, describe_time_basis, dump, gap_document, printable
from afterview.cli.output.stores import describe_store, store_document
from afterview.cli.output.tiers import downsampled_frames, tiers_document
from afterview.memory.base.documents import FORMAT_VERSION
from afterview.memory.base.typed_times import spell_duration
from afterview.memory.directory import Memory
from afterview.memory.plans.downsampling import FEWER
from afterview.memory.reading.reader import CameraReader, MemorySnapshot


def run(arguments: argparse.Namespace) -> int:
    """Say what a memory holds."""
    memory = Memory(readable_memory(arguments.memory))
    held = [(reader, reader.snapshot()) for reader in memory.cameras()]
    if arguments.json:
        dump({"format": FORMAT_VERSION, "cameras": [_document(reader, snapshot) for reader, snapshot in held]})
        return 0
    for reader, snapshot in held:
        _print(reader, snapshot)
    return 0


def _document(reader: CameraReader, snapshot: MemorySnapshot) -> dict[str, Any]:
    lasting = [snapshot.open_gap] if snapshot.open_gap else []
    return {
        "id": reader.info.id,
        "name": reader.info.name,
        "frames": snapshot.frames,
        "first_time": float(snapshot.times[0]) if snapshot.frames else None,
        "last_time": float(snapshot.times[-1]) if snapshot.frames else None,
        "time_basis": snapshot.time_bases(snapshot.ids),
        "gaps": [gap_document(gap) for gap in (*snapshot.gaps, *lasting)],
        "bytes": reader.bytes_on_disk(),
        "store": store_document(reader.directory),
        "tiers": tiers_document(reader.directory, snapshot),
        "spec": snapshot.spec.model_dump(),
        "fps": reader.info.fps,
        "timezone": reader.info.timezone,
    }


def _print(reader: CameraReader, snapshot: MemorySnapshot) -> None:
    info, spec = reader.info, snapshot.spec
    print(f"{info.id} ({printable(info.name)})")
    if snapshot.frames:
        first, last = info.show(float(snapshot.times[0])), info.show(float(snapshot.times[-1]))
        length = spell_duration(snapshot.frames / info.fps)
        print(f"  {snapshot.frames} frames ({length} at {info.fps:g} per second), {first} to {last}")
        print(f"  times are {describe_time_basis(snapshot.time_bases(snapshot.ids))}")
    else:
        print("  no frame yet")
    tokens = spec.tokens
    shape = f"{tokens.tokens_per_frame} tokens of {tokens.width} a frame, {tokens.storage}"
    print(f"  {reader.bytes_on_disk() / 1e6:.1f} MB; model {spec.model}: {shape}")
    if downsampled := downsampled_frames(reader.directory, snapshot):
        print(f"  {downsampled} old frames keep {tokens.tokens_per_frame // FEWER} of them")
    if store := store_document(reader.directory):
        print(f"  {describe_store(store, info)}")
    for gap in snapshot.gaps[-10:]:
        print(f"  gap: {describe_gap(gap, info)}")
    if len(snapshot.gaps) > 10:
        print(f"  and {len(snapshot.gaps) - 10} earlier gaps; --json lists all")
    if snapshot.open_gap:
        print(f"  gap: {describe_gap(snapshot.open_gap, info)}")
