"""`afterview search`: the frames that are most similar to a text."""

import argparse
import logging
import time

from afterview.cli.arguments import readable_memory
from afterview.cli.output.documents import dump
from afterview.configs import UsageError
from afterview.memory.base.typed_times import parse_duration, parse_time
from afterview.memory.directory import Memory
from afterview.stream.ask.search import SearchResult, TimeRange, search

_LOGGER = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> int:
    """Search one camera, or all."""
    if not arguments.text.strip():
        raise UsageError('the text is empty; write, for example: afterview search "a red ring" --memory DIR')
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
    found = search(memory, encoders, arguments.text, spans, most=arguments.top, skip_others=not arguments.camera)
    for why in found.stale.values():
        _LOGGER.warning("note: only frames that were indexed before are searched: %s", why)
    if arguments.json:
        dump(found.to_dict(), arguments.memory, [reader.info for reader in readers])
    else:
        _print(found, memory)
    return 0


def _span(arguments: argparse.Namespace, zone: str) -> TimeRange:
    now = time.time()
    at = parse_time(arguments.at, timezone=zone, now=now) if arguments.at else None
    if arguments.last:
        return (now if at is None else at) - parse_duration(arguments.last), at
    return (parse_time(arguments.start, timezone=zone, now=now) if arguments.start else None), at


def _print(found: SearchResult, memory: Memory) -> None:
    if not found.hits:
        print("nothing was recorded in that span")
    for hit in found.hits:
        when = memory.camera(hit.camera).info.show(hit.time)
        print(f"{hit.camera}  {when}  frame {hit.frame:<7} score {hit.score:.3f}")
    if not found.exact:
        print("note: part of the span was searched approximately (its index is too large to compare every frame)")
    if found.notice:
        print(f"note: {found.notice}")
    for name, why in found.skipped.items():
        print(f"{name}: not searched: {why}")
