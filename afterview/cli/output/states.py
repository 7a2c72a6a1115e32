"""What the process that records a camera says of it, as text for people."""

from collections.abc import Iterator
from typing import Any

from afterview.memory.base.counts import counted

_COUNTS = {"dropped": "frame", "reconnects": "reconnect"}


def describe_state(state: dict[str, Any]) -> Iterator[str]:
    """Lines about a CameraStatus as JSON (stream.ingest.status), also of another version."""
    detail = state.get("detail")
    counts = [
        f"{counted(state[key], thing)}{' dropped' * (key == 'dropped')}"
        for key, thing in _COUNTS.items()
        if state.get(key)
    ]
    yield "; ".join([f"{state.get('state', 'unknown')}{f' ({detail})' if detail else ''}", *counts])
    if state.get("clock") and state["clock"] != detail:
        yield str(state["clock"])
