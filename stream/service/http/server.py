"""The HTTP server: uvicorn in the loop of the service, with limits on connections and on the time of a request's head."""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Generator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from afterview.configs import ConfigError
from afterview.configs.system_errors import reason
from afterview.stream.service.asgi import App
from afterview.stream.service.config import HttpConfig
from afterview.stream.service.errors import ServiceBusy
from afterview.stream.service.http.guard import LONGEST_HEAD, Guard
from afterview.stream.service.tls import server_context

GRACE_S = 5  # that requests in progress have at the end
_KEEP_ALIVE_S = 15
UNREAD_S = 60.0  # that a client may leave all buffers full: else it would hold its connection for ever
_BACKLOG = 128


class Server(uvicorn.Server):
    """Without signal handlers: the service has its own. Also serves the socket in the memory, if there is one."""

    def __init__(self, config: uvicorn.Config, local: uvicorn.Config, socket_in_memory: socket.socket | None) -> None:
        super().__init__(config)
        self._local, self._socket_in_memory = local, socket_in_memory

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        await super().startup(sockets)
        if self._socket_in_memory is None:
            return

        def protocol() -> asyncio.Protocol:
            made: Any = self._local.http_protocol_class
            found: asyncio.Protocol = made(
                config=self._local, server_state=self.server_state, app_state=self.lifespan.state, _loop=None
            )
            return found

        loop = asyncio.get_running_loop()
        self.servers.append(await loop.create_unix_server(protocol, sock=self._socket_in_memory, backlog=_BACKLOG))

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals alone."""
        yield


def make_server(app: Guard, http: HttpConfig, socket_in_memory: socket.socket | None = None) -> Server:
    """A server for `app`; serve it with the socket of `listen`. Raises ConfigError for certificates that cannot be used."""
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # what fails is logged by the guard, without secrets
    protocol = _protocol(http.header_timeout_s, http.most_connections)
    config, local = (_config(one, protocol) for one in (app, app.for_this_user()))
    config.ssl = server_context(http.tls)
    return Server(config, local, socket_in_memory)


def _config(app: App, protocol: type[asyncio.Protocol]) -> uvicorn.Config:
    config = uvicorn.Config(
        app, http=protocol, ws="none", lifespan="off", loop="none", log_config=None, access_log=False, server_header=False,
        proxy_headers=False, timeout_keep_alive=_KEEP_ALIVE_S, backlog=_BACKLOG, h11_max_incomplete_event_size=LONGEST_HEAD,
        timeout_graceful_shutdown=GRACE_S,
    )  # fmt: skip
    config.load()
    return config


def listen(http: HttpConfig) -> socket.socket:
    """The socket to listen on. Raises ServiceBusy for a port in use, ConfigError for an address that this machine does not have."""
    try:
        found = socket.getaddrinfo(http.bind, http.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        raise ConfigError(f"http.bind {http.bind}: not an address of this machine") from None
    family, kind, protocol, _, place = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        where = f"http.bind {http.bind}, port {http.port}"
        if error.errno == errno.EADDRINUSE:
            raise ServiceBusy(
                f"{where}: another program listens there; stop it, or set http.port (0: a free one)"
            ) from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise ConfigError(f"http.bind {http.bind}: not an address of this machine") from None
        raise ConfigError(f"{where}: {reason(error)}") from None
    return listener


def url_of(http: HttpConfig, listener: socket.socket) -> str:
    """Where a client on this machine finds the service."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    scheme = "http" if http.tls.certificate is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _protocol(header_timeout_s: float, most_connections: int) -> type[asyncio.Protocol]:
    class Limited(H11Protocol):
        """A connection that is closed if the head of a request takes too long, or if there are too many."""

        _head_timer: asyncio.TimerHandle | None = None
        _unread_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            """Refuse one connection too many."""
            if len(self.connections) >= most_connections:
                transport.abort()
                return
            super().connection_made(transport)
            self._expect_head()

        def data_received(self, data: bytes) -> None:
            """Part of a request."""
            if self.transport is None or self.transport.is_closing():
                return
            if self._idle and self._head_timer is None:
                self._expect_head()
            super().data_received(data)
            if not self._idle:
                self._end_timer()

        def pause_writing(self) -> None:
            """The buffers are full."""
            super().pause_writing()
            self._unread_timer = self.loop.call_later(UNREAD_S, self.transport.abort)

        def resume_writing(self) -> None:
            """The client reads."""
            super().resume_writing()
            self._end_unread()

        def connection_lost(self, exc: Exception | None) -> None:
            """The end."""
            self._end_timer()
            self._end_unread()
            if self.transport is not None:
                super().connection_lost(exc)

        @property
        def _idle(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _expect_head(self) -> None:
            self._head_timer = self.loop.call_later(header_timeout_s, self.transport.abort)

        def _end_unread(self) -> None:
            if self._unread_timer is not None:
                self._unread_timer.cancel()
                self._unread_timer = None

        def _end_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

    return Limited
