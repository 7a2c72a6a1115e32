"""`afterview search`: the frames that look most like a text."""

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from afterview.cli.arguments import readable_memory
from afterview.cli.output.documents import dump
from afterview.configs import UsageError
from afterview.memory.base.errors import SpecMismatch, UnreachableFrames
from afterview.memory.base.spec import require_same
from afterview.memory.base.typed_times import parse_duration, parse_time
from afterview.memory.directory import Memory
from afterview.memory.reading.reader import frames_between

if TYPE_CHECKING:
    from afterview.memory.reading.snapshot import MemorySnapshot


def run(arguments: argparse.Namespace) -> int:
    """Search one camera, or all."""
    if not arguments.text.strip():
        raise UsageError('the text is empty; write, for example: afterview search "a red car" --memory DIR')
    if arguments.top < 1:
        raise UsageError(f"--top {arguments.top}: must be at least 1")
    if arguments.start and arguments.last:
        raise UsageError("--from and --last both say where the span begins; give one of them")
    memory = Memory(readable_memory(arguments.memory))
    readers = [memory.camera(name) for name in arguments.camera] or memory.cameras()
    spans = {reader.info.id: _span(arguments, reader.info.timezone) for reader in readers}

    from afterview.model.checkpoint.loading import (
        load_encoders,  # loads torch: not before the arguments are known to make sense
    )

    encoders = load_encoders(arguments.model or readers[0].spec.model)
    query = encoders.index.encode_texts([arguments.text.strip()])[0]
    hits: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    exact = True
    for reader in readers:
        snapshot = reader.snapshot()
        try:
            require_same(snapshot.spec, encoders.feature_spec, where=f"camera '{reader.info.id}'")
        except SpecMismatch as error:
            if arguments.camera:
                raise
            skipped[reader.info.id] = str(error)
            continue
        first, end = _frames(snapshot, *spans[reader.info.id])
        index = memory.index(reader.info.id)
        try:
            index.catch_up(snapshot)
        except UnreachableFrames as error:
            print(f"note: only frames that were indexed before are searched: {error}", file=sys.stderr)
        found = index.search(query, arguments.top, snapshot, first=first, end=end)
        exact &= found.exact
        hits += [
            {
                "camera": reader.info.id,
                "frame": hit.frame,
                "time": snapshot.time_of(hit.frame),
                "score": round(hit.score, 6),
            }
            for hit in found.hits
        ]
    hits = sorted(hits, key=lambda hit: (-hit["score"], hit["camera"], hit["frame"]))[: arguments.top]
    if arguments.json:
        dump({"text": arguments.text, "hits": hits, "exact": exact, "skipped": skipped, "notice": encoders.notice})
    else:
        _print(hits, exact, memory, encoders.notice)
        for name, why in skipped.items():
            print(f"{name}: not searched: {why}")
    return 0


def _span(arguments: argparse.Namespace, zone: str) -> tuple[float | None, float | None]:
    now = time.time()
    at = parse_time(arguments.at, timezone=zone, now=now) if arguments.at else None
    if arguments.last:
        return (now if at is None else at) - parse_duration(arguments.last), at
    return (parse_time(arguments.start, timezone=zone, now=now) if arguments.start else None), at


def _frames(snapshot: "MemorySnapshot", start: float | None, at: float | None) -> tuple[int, int]:
    """Frame ids [first, end) of the span."""
    first, end = frames_between(snapshot.times, start, at)
    return (int(snapshot.ids[first]), int(snapshot.ids[end - 1]) + 1) if end > first else (0, 0)


def _print(hits: list[dict[str, Any]], exact: bool, memory: Memory, notice: str | None) -> None:
    if not hits:
        print("nothing was recorded in that span")
    for hit in hits:
        info = memory.camera(hit["camera"]).info
        print(f"{hit['camera']}  {info.show(hit['time'])}  frame {hit['frame']:<7} score {hit['score']:.3f}")
    if not exact:
        print("note: part of the span was searched approximately (its index is too large to compare every frame)")
    if notice:
        print(f"note: {notice}")
