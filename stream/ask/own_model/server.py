"""The model of a user that answers instead of the built-in one: where it is, and what it may cost. Values only."""

import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit, urlunsplit

from afterview.configs import UsageError

_CHAT, _MODELS = "/chat/completions", "/models"
SETTINGS = "answer_with of the service, or --answer-with"  # where a user sets all this
THERE = f"check that it runs, and its address: {SETTINGS}"


@dataclass(frozen=True)
class ModelServer:
    """An OpenAI-compatible server. base: its address up to `/v1`, without a secret. model: None: the only one that it has.

    frames: sent with a question, at most. image_size: their short side, pixels. connect_s, first_token_s (also: between two words),
    timeout_s: for one camera's whole answer, waits for a busy server included. max_tokens: of an answer. key: never shown.
    """

    base: str
    model: str | None = None
    key: str | None = field(default=None, repr=False)
    query: str = ""
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    frames: int = 8
    image_size: int = 512
    connect_s: float = 10.0
    first_token_s: float = 60.0
    timeout_s: float = 180.0
    max_tokens: int = 512
    stream: bool = True

    @property
    def host(self) -> str:
        """Host and port, for people."""
        return urlsplit(self.base).netloc

    @property
    def is_here(self) -> bool:
        """Whether its address is one of this machine; what is sent to any other one leaves it."""
        name = urlsplit(self.base).hostname or ""
        try:
            return ip_address(name).is_loopback
        except ValueError:
            return name == "localhost" or name.endswith(".localhost")

    @property
    def what_it_gets(self) -> str:
        """What a user must know before the first question."""
        go = "are sent to that address of this machine" if self.is_here else "leave this machine"
        return f"up to {self.frames} frames of each camera {go} with each question"

    @property
    def chat_url(self) -> str:
        """Where questions go."""
        return self._url(_CHAT)

    @property
    def models_url(self) -> str:
        """Where the server lists its models."""
        return self._url(_MODELS)

    def _url(self, path: str) -> str:
        return self.base + path + (f"?{self.query}" if self.query else "")


def split_address(url: str) -> tuple[str, str]:
    """The base and the query of what a user gives: with or without `/v1`, with or without `/chat/completions`. Pure.

    Raises UsageError, which never quotes a password.
    """
    example = "give the address of an OpenAI-compatible server, such as http://127.0.0.1:11434/v1"
    if not url.isprintable() or not url.isascii() or " " in url:
        raise UsageError(f"the address has characters that no address has; {example}")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise UsageError(f"not an address; {example}") from None
    if "@" in parts.netloc:
        raise UsageError(f"an address with a user name or a password is not taken; set the key instead; {example}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"not an http:// or https:// address; {example}")
    if parts.fragment:
        raise UsageError(f"an address with a '#' is not taken; {example}")
    path = parts.path.rstrip("/").removesuffix(_CHAT).rstrip("/") or "/v1"
    return urlunsplit((parts.scheme, parts.netloc, path, "", "")), parts.query


def unreachable(why: str) -> tuple[str, str]:
    """What is wrong with a connection that was not made, and the remedy. why: the error's text. Pure."""
    if "CERTIFICATE_VERIFY_FAILED" in why:
        return (
            f"cannot be trusted ({why})",
            f"give its authorities with ca of answer_with, or in SSL_CERT_FILE: {SETTINGS}",
        )
    if "WRONG_VERSION_NUMBER" in why or "RECORD_LAYER_FAILURE" in why:
        return f"speaks no TLS ({why})", f"write http:// in its address: {SETTINGS}"
    return f"cannot be reached ({why})", THERE
