"""The socket on which systemd hears from a service, for tests to read."""

import contextlib
import socket


class Listener:
    """A socket that messages are sent to. told: what came, in order."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.setblocking(False)
        self._told: list[str] = []

    @property
    def told(self) -> list[str]:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._told.append(self._socket.recv(4096).decode())
        return self._told

    def close(self) -> None:
        self._socket.close()
