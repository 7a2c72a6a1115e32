"""Probes a source while the caller can be interrupted: FFmpeg does not return before its timeout, and PyAV swallows a Ctrl-C meanwhile.

Threads: `probe` runs in a thread of its own, which is left behind when the caller is interrupted.
"""

import queue
import threading
from collections.abc import Callable

from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.probe import probe

_SAY_AFTER_S = 3.0


def probe_aside(address: SourceAddress, config: SourceConfig, say: Callable[[str], None]) -> None:
    """`probe`. say: is told what is worth a note, among others that it takes more than three seconds."""
    results: queue.SimpleQueue[str | BaseException] = queue.SimpleQueue()

    def work() -> None:
        try:
            results.put(probe(address, config))
        except BaseException as error:
            results.put(error)

    threading.Thread(target=work, name="probe", daemon=True).start()
    try:
        result = results.get(timeout=_SAY_AFTER_S)
    except queue.Empty:
        say(
            f"{address.redacted}: nothing that can be shown came yet; waiting {config.open_timeout_s:g} s for it at most"
        )
        result = results.get()
    if isinstance(result, BaseException):
        raise result
    if result:
        say(result)
