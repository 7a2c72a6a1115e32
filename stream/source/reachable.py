"""Whether the host of a source answers at all: a check before slow preparations, such as loading a large model."""

import os
import socket
import time
from urllib.parse import urlsplit

from afterview.stream.source.address import SourceAddress
from afterview.stream.source.failures import explain_opening

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}


def require_reachable(address: SourceAddress, timeout_s: float) -> None:
    """Raise SourceUnreachable if the port of a camera or web server takes no TCP connection. Says nothing about other kinds of sources."""
    parts = urlsplit(address.url) if address.kind in ("rtsp", "hls", "http") else None
    if parts is None or parts.hostname is None or "listen" in parts.query:  # FFmpeg itself can be the server
        return
    if parts.scheme.startswith("http") and any(name.lower().endswith("_proxy") for name in os.environ):
        return
    began = time.monotonic()
    try:
        socket.create_connection((parts.hostname, parts.port or _PORTS[parts.scheme]), timeout_s).close()
        return
    except (OSError, UnicodeError) as error:  # an odd host name cannot be encoded
        failure = explain_opening(error, address, timeout_s, took_s=time.monotonic() - began)
    raise failure  # outside the handler, so that no chained error carries the address
