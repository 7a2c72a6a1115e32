"""The file of a soak run: one JSON object per line, appended as it happens, so that a run that was killed can still be reported."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Event = dict[str, Any]


def append(path: Path, kind: str, **values: Any) -> None:
    """Append one event, with the time now. From any process: a line is one write."""
    line = json.dumps({"kind": kind, "t": round(time.time(), 3), **values}) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def read(path: Path) -> Iterator[Event]:
    """The events. A line that was cut off is left out."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:
                continue
