"""`afterview info`. Loads neither torch nor faiss."""

import argparse

from afterview.cli.arguments import readable_memory
from afterview.cli.output.documents import describe_gap, describe_time_basis, dump, printable
from afterview.cli.output.stores import describe_store
from afterview.memory.base.documents import FORMAT_VERSION
from afterview.memory.base.typed_times import spell_duration
from afterview.memory.description import CameraDescription
from afterview.memory.directory import Memory
from afterview.memory.plans.downsampling import FEWER

_MOST_GAPS = 10  # closed ones printed per camera; --json has all


def run(arguments: argparse.Namespace) -> int:
    """Describe what a memory holds."""
    cameras = [CameraDescription.of(reader) for reader in Memory(readable_memory(arguments.memory)).cameras()]
    if arguments.json:
        dump({"format": FORMAT_VERSION, "cameras": [camera.to_dict() for camera in cameras]})
        return 0
    for camera in cameras:
        _print(camera)
    return 0


def _print(camera: CameraDescription) -> None:
    info, tokens = camera.info, camera.spec.tokens
    print(f"{info.id} ({printable(info.name)})")
    if camera.first_time is None or camera.last_time is None:
        print("  no frame yet")
    else:
        length = spell_duration(camera.frames / info.fps)
        print(
            f"  {camera.frames} frames ({length} at {info.fps:g} per second), "
            f"{info.show(camera.first_time)} to {info.show(camera.last_time)}"
        )
        print(f"  times from: {describe_time_basis(camera.time_basis)}")
    shape = f"{tokens.tokens_per_frame} tokens of {tokens.width} a frame, {tokens.storage}"
    print(f"  {camera.bytes / 1e6:.1f} MB; model {camera.spec.model}: {shape}")
    if camera.tiers.downsampled:
        print(f"  {camera.tiers.downsampled} old frames keep {tokens.tokens_per_frame // FEWER} of them")
    if (evictions := camera.evictions).last_at is not None:
        limit = f" by the limit in {evictions.limit}" if evictions.limit else ""
        print(f"  {evictions.frames} frames were evicted; last at {info.show(evictions.last_at)}{limit}")
    if camera.store:
        print(f"  {describe_store(camera.store, info)}")
    closed = [gap for gap in camera.gaps if not gap.lasts]
    for gap in closed[-_MOST_GAPS:]:
        print(f"  gap: {describe_gap(gap, info)}")
    if len(closed) > _MOST_GAPS:
        print(f"  and {len(closed) - _MOST_GAPS} earlier gaps; --json lists all")
    for gap in camera.gaps[len(closed) :]:
        print(f"  gap: {describe_gap(gap, info)}")
