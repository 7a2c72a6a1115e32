"""The socket on which systemd hears from a service, for tests to read."""

import contextlib
import socket
import threading


class Listener:
    """A socket that messages are sent to. told: what came, in order. hears: whether it is read all the time, as systemd does."""

    def __init__(self, address: str, *, hears: bool = False) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._told: list[str] = []
        if hears:
            threading.Thread(target=self._hear, daemon=True).start()
        else:
            self._socket.setblocking(False)

    @property
    def told(self) -> list[str]:
        if not self._socket.getblocking():
            self._hear()
        return self._told

    def _hear(self) -> None:
        with contextlib.suppress(OSError):
            while message := self._socket.recv(4096):
                self._told.append(message.decode())

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
