"""A server of pictures over HTTP in every dialect: what it sends after each request is up to the test, byte by byte.

Threads: one for every connection; all end when the block is left.
"""

import hashlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from afterview.stream.media import encode_jpeg
from tests.support.clips import picture

PATIENCE_S = 10.0  # for one request or one piece of an answer


def jpeg(number: int, short_side: int = 120) -> bytes:
    """Picture `number` of the test clip."""
    return encode_jpeg(picture(number), short_side)


@dataclass
class Request:
    """One request. `send` raises OSError when the client is gone; `pause` returns False then, and when the server ends."""

    path: str
    headers: dict[str, str]
    connection: socket.socket
    ending: threading.Event

    def send(self, data: bytes) -> None:
        """As it stands."""
        self.connection.sendall(data)

    def head(self, content_type: str | None, *lines: str, status: str = "200 OK", version: str = "1.1") -> None:
        """The status line and the headers."""
        stated = [] if content_type is None else [f"Content-Type: {content_type}"]
        self.send("\r\n".join([f"HTTP/{version} {status}", *stated, *lines, "", ""]).encode())

    def answer(self, body: bytes, content_type: str = "image/jpeg", *lines: str, status: str = "200 OK") -> None:
        """A whole answer that keeps the connection open."""
        self.head(content_type, f"Content-Length: {len(body)}", *lines, status=status)
        self.send(body)

    def pause(self, seconds: float) -> bool:
        """Wait."""
        return not self.ending.wait(seconds)

    def hold(self) -> None:
        """Keep the connection open and send nothing more."""
        self.ending.wait(PATIENCE_S)


Script = Callable[[Request], object]


@dataclass
class PictureServer:
    """url; how many connections were made, and the requests so far."""

    url: str = ""
    connections: int = 0
    requests: list[Request] = field(default_factory=list)


@contextmanager
def picture_server(script: Script, *, context: ssl.SSLContext | None = None) -> Iterator[PictureServer]:
    """Answers every request by calling `script`, then closes the connection unless the answer stated a length."""
    ending, server = threading.Event(), PictureServer()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        scheme = "http" if context is None else "https"
        server.url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/camera"
        threads = [threading.Thread(target=_accept, args=(listener, script, server, ending, context), daemon=True)]
        threads[0].start()
        try:
            yield server
        finally:
            ending.set()
            threads[0].join(2)


def _accept(
    listener: socket.socket,
    script: Script,
    server: PictureServer,
    ending: threading.Event,
    context: ssl.SSLContext | None,
) -> None:
    while not ending.is_set():
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        except OSError:
            return
        server.connections += 1
        threading.Thread(target=_serve, args=(connection, script, server, ending, context), daemon=True).start()


def _serve(
    connection: socket.socket,
    script: Script,
    server: PictureServer,
    ending: threading.Event,
    context: ssl.SSLContext | None,
) -> None:
    connection.settimeout(PATIENCE_S)
    try:
        if context is not None:
            connection = context.wrap_socket(connection, server_side=True)
        with connection:
            while (request := _read(connection, ending)) is not None:
                server.requests.append(request)
                if script(request) is None:
                    return
    except (OSError, ValueError):
        pass  # the client has seen enough


def _read(connection: socket.socket, ending: threading.Event) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(4096)
        if not more:
            return None
        data += more
    first, *lines = data.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if ":" in line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return Request(first.split(" ")[1], headers, connection, ending)


def digest_is_right(request: Request, user: str, password: str, algorithm: str) -> bool:
    """Whether the request's Authorization answers a Digest challenge of realm "camera", qop "auth" (RFC 7616)."""
    said = dict(re.findall(r'(\w+)="?([^",]*)"?', request.headers.get("authorization", "").partition(" ")[2]))
    if not said:
        return False

    def digest(text: str) -> str:
        return hashlib.new({"MD5": "md5", "SHA-256": "sha256"}[algorithm], text.encode()).hexdigest()

    parts = [said["nonce"], said["nc"], said["cnonce"], said["qop"]]
    return said["response"] == digest(
        ":".join([digest(f"{user}:camera:{password}"), *parts, digest(f"GET:{request.path}")])
    )


def camera_certificate(directory: Path) -> ssl.SSLContext:
    """A server's TLS with a certificate as cameras have them: expired, for another name, signed by nobody."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "camera.invalid")])
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key(), serial_number=1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=365))
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    file = directory / "camera.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
