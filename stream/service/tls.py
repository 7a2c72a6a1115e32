"""The certificate by which the service shows who it is."""

import ssl
from pathlib import Path

from afterview.configs import ConfigError
from afterview.configs.system_errors import reason
from afterview.stream.service.config import TlsConfig


def server_context(tls: TlsConfig) -> ssl.SSLContext | None:
    """What a server needs; None without TLS. Raises ConfigError for files that cannot be used."""
    if tls.certificate is None and tls.key is None:
        return None
    if tls.certificate is None or tls.key is None:
        raise ConfigError("http.tls: give both certificate and key, or neither")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(_readable(tls.certificate, "certificate"), _readable(tls.key, "key"), password="")
    except (ssl.SSLError, OSError, ValueError):
        raise ConfigError(
            f"http.tls: {tls.certificate} and {tls.key} are not a PEM certificate and its key without a password"
        ) from None
    return context


def _readable(path: Path, name: str) -> Path:
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(f"http.tls.{name}: {path}: {reason(error)}") from None
    return path
