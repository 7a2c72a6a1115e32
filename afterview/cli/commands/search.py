"""`afterview search`: the frames that are most similar to a text."""

import argparse
import logging
import time
from collections.abc import Sequence

from afterview.cli.arguments import (
    newest_frame,
    positive_duration,
    readable_memory,
    require_count,
    require_model,
    require_order,
    require_past,
    require_question,
)
from afterview.cli.output.documents import dump
from afterview.configs import UsageError
from afterview.memory.base.typed_times import parse_time
from afterview.memory.directory import Memory
from afterview.memory.reading.reader import CameraReader
from afterview.stream.ask.search import SearchResult, TimeRange, search

_LOGGER = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> int:
    """Search one camera, or all."""
    if not arguments.text.strip():
        raise UsageError('the text is empty; write, for example: afterview search "a red ring" --memory DIR')
    require_question("the text", arguments.text)
    require_count("--top", arguments.top, 1)
    require_model(arguments.model)
    if arguments.start and arguments.last:
        raise UsageError("--from and --last both say where the span begins; give one of them")
    memory = Memory(readable_memory(arguments.memory))
    readers = [memory.camera(name) for name in arguments.camera] or memory.cameras()
    spans = {reader.info.id: _span(arguments, reader.info.timezone, readers) for reader in readers}

    from afterview.model.checkpoint import loading  # loads torch: not before the arguments are known to make sense

    encoders = loading.load_encoders(arguments.model or readers[0].spec.model)
    found = search(memory, encoders, arguments.text, spans, most=arguments.top, skip_others=not arguments.camera)
    for why in found.stale.values():
        _LOGGER.warning("note: only frames that were indexed before are searched: %s", why)
    if arguments.json:
        dump(found.to_dict())
    else:
        _print(found, memory)
    return 0


def _span(arguments: argparse.Namespace, zone: str, readers: Sequence[CameraReader]) -> TimeRange:
    now = time.time()
    given = (("--from", arguments.start), ("--at", arguments.at))
    start, at = (parse_time(text, timezone=zone, now=now) if text else None for _, text in given)
    for (option, text), moment in zip(given, (start, at), strict=True):
        if moment is not None:
            require_past(option, text, moment, now, lambda: newest_frame(readers))
    require_order(start, at, said=f"--from {arguments.start} --at {arguments.at}")
    if arguments.last:
        return (now if at is None else at) - positive_duration("--last", arguments.last), at
    return start, at


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
