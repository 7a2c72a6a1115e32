"""What systemd is told by its notification protocol (sd_notify): ready, reloading, stopping, the state in words, and that the event loop
is alive. Where no supervisor has given a socket, nothing is told. Belongs to the event loop."""

import asyncio
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager

_SOCKET, _WATCHDOG, _WATCHED = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
_REPEATED = ("WATCHDOG=1",)  # one of it is enough
_STATUS_EVERY_S = 1.0
_MOST_UNSENT = 64  # messages for a supervisor that does not read; it must not hold the loop

_LOGGER = logging.getLogger(__name__)


class Supervisor:
    """The one who started this process. watchdog_s: how often it must be told that the loop is alive, or None."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Takes its variables out of the environment: no child process may speak for this one."""
        place = environment.pop(_SOCKET, "")
        self.watchdog_s = _watchdog_s(environment.pop(_WATCHDOG, ""), environment.pop(_WATCHED, "")) if place else None
        self._socket = _connected(place) if place else None
        self._unsent: deque[str] = deque(maxlen=_MOST_UNSENT)
        self._reloads = 0
        self._told_status = ""

    def ready(self) -> None:
        """The service listens."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """The service has begun to end."""
        self._tell("STOPPING=1")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """While the configuration is read again. Of several at once, the last one to end counts."""
        self._reloads += 1
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            yield
        finally:
            self._reloads -= 1
            if not self._reloads:
                self.ready()

    def status(self, text: str) -> None:
        """The state in one line; told if it is news."""
        if text != self._told_status:
            self._told_status = text
            self._tell(f"STATUS={' '.join(text.split())}")

    async def watch(self, status: Callable[[], str]) -> None:
        """Tell the state when it changes, and twice in each watchdog period that the loop is alive. Until cancelled."""
        if self._socket is None:
            return
        pause_s = min(_STATUS_EVERY_S, (self.watchdog_s or _STATUS_EVERY_S) / 2)
        due = time.monotonic()
        while True:
            self.status(status())
            if self.watchdog_s is not None and time.monotonic() >= due:
                due = (
                    time.monotonic() + self.watchdog_s / 2 - pause_s
                )  # the tick that comes before the half, not after it
                self._tell("WATCHDOG=1")
            self._send()
            await asyncio.sleep(pause_s)

    def close(self) -> None:
        """Tell nothing any more."""
        self._send()
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()

    def _tell(self, *lines: str) -> None:
        if self._socket is None:
            return
        message = "\n".join(lines)
        if message not in _REPEATED or message not in self._unsent:
            self._unsent.append(message)
        self._send()

    def _send(self) -> None:
        """What was not sent yet, in order, as far as the supervisor takes it now."""
        while self._socket is not None and self._unsent:
            try:
                self._socket.send(self._unsent[0].encode())
            except BlockingIOError:
                return  # the next tick tries again
            except OSError as error:
                _LOGGER.warning("systemd was not told %s: %s", self._unsent[0].partition("\n")[0], error.strerror)
            self._unsent.popleft()


def _watchdog_s(microseconds: str, process: str) -> float | None:
    """The watchdog's period, if it is meant for this process."""
    if not microseconds or (process and process != str(os.getpid())):
        return None
    if not microseconds.isdecimal() or int(microseconds) == 0:
        _LOGGER.warning("%s=%s: is no number of microseconds; no watchdog is told anything", _WATCHDOG, microseconds)
        return None
    return int(microseconds) / 1e6


def _connected(place: str) -> socket.socket | None:
    """A socket to a path, or to an abstract address, which begins with @."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        if place[0] not in "@/":
            raise ValueError("only unix sockets are spoken to: a path, or @ and an abstract address")
        connection.setblocking(False)
        connection.connect(f"\0{place[1:]}" if place[0] == "@" else place)
    except (OSError, ValueError) as error:
        connection.close()
        _LOGGER.warning("%s=%s: systemd is told nothing: %s", _SOCKET, place, error)
        return None
    return connection
