"""Calls of an assistant on this machine, handed on to a running service, whose answers they are. Each call is one request to its /mcp."""

import json
import ssl
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
from mcp import types
from mcp.shared.inbound import MCP_METHOD_HEADER, MCP_NAME_HEADER, MCP_PROTOCOL_VERSION_HEADER
from mcp.types.version import LATEST_MODERN_VERSION
from pydantic import ValidationError

from afterview.configs import UsageError
from afterview.configs.system_errors import describe
from afterview.memory.base.recorder import short_path
from afterview.stream.service.holder import SOCKET
from afterview.stream.service.mcp.protocol import tool_result
from afterview.stream.service.mcp.results import failed
from afterview.stream.source.address.redact import redact

_PATIENCE_S = 30.0  # the service answers within 8 s, or with a handle
_LARGEST = 8 << 20  # bytes of an answer
_TOKEN_REMEDY = (
    "put its token into the variable AFTERVIEW_TOKEN, or the name of a file with it into AFTERVIEW_TOKEN_FILE"
)


@dataclass(frozen=True)
class Service:
    """Where a service is. memory: whose socket reaches it without a token; None: over the network, at `url`."""

    url: str
    memory: Path | None = None
    token: str = ""

    def __str__(self) -> str:
        return f"the service at {self.url}" if self.url else "the service of this memory"


def service_at(address: str, token: str) -> Service:
    """The service at an address that a person typed. Raises UsageError."""
    try:
        parts = urlsplit(address)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not right or parts.path.rstrip("/") not in ("", "/mcp") or parts.query or parts.fragment:
        raise UsageError(
            f"--service {redact(address)}: give its address, such as http://127.0.0.1:8077; `afterview serve` prints it"
        )
    if parts.username or parts.password:
        raise UsageError(f"--service {redact(address)}: leave the user out, and {_TOKEN_REMEDY}")
    return Service(f"{parts.scheme}://{parts.netloc}", token=token)


async def forward(service: Service, version: str, name: str, given: Mapping[str, Any] | None) -> types.CallToolResult:
    """What the service's tool says; also why it cannot be asked. Cancelling it ends the question there."""
    try:
        status, body = await _post(service, _message(version, name, given), name)
    except httpx2.TimeoutException:
        return _refused(f"{service} did not answer within {_PATIENCE_S:.0f} s; try again, and look at its log")
    except httpx2.TransportError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return _refused(
                f"{service} has a certificate that is not trusted; SSL_CERT_FILE names a file of those that are"
            )
        return _refused(f"{service} does not answer; start it with `afterview serve`, or correct --service")
    except _TooLarge:
        return _refused(f"{service} answered with more than {_LARGEST} bytes; ask about a shorter span")
    except OSError as error:
        return _refused(f"{service} cannot be asked: {describe(error)}")
    return _result(service, status, body)


async def _post(service: Service, message: dict[str, Any], name: str) -> tuple[int, bytes]:
    headers = {
        "Accept": "application/json, text/event-stream", "Content-Type": "application/json",
        MCP_PROTOCOL_VERSION_HEADER: LATEST_MODERN_VERSION, MCP_METHOD_HEADER: "tools/call", MCP_NAME_HEADER: name,
    }  # fmt: skip
    if service.token:
        headers["Authorization"] = f"Bearer {service.token}"
    own = service.memory is not None
    with short_path(service.memory, SOCKET) if service.memory else nullcontext("") as socket:
        verify = ssl.create_default_context() if service.url.startswith("https") and not own else False
        transport = httpx2.AsyncHTTPTransport(verify=verify, uds=socket or None)
        async with (
            httpx2.AsyncClient(transport=transport, trust_env=False, timeout=_PATIENCE_S) as client,
            client.stream(
                "POST", "http://localhost/mcp" if own else f"{service.url}/mcp", headers=headers,
                content=json.dumps(message).encode(),
            ) as response,
        ):  # fmt: skip
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > _LARGEST:
                    raise _TooLarge
            return response.status_code, bytes(body)


class _TooLarge(Exception):
    """The service answers with more than can be used."""


def _message(version: str, name: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    envelope = {
        types.PROTOCOL_VERSION_META_KEY: LATEST_MODERN_VERSION,
        types.CLIENT_INFO_META_KEY: {"name": "afterview mcp", "version": version},
        types.CLIENT_CAPABILITIES_META_KEY: {},
    }
    params = {"name": name, "arguments": dict(given or {}), "_meta": envelope}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def _result(service: Service, status: int, body: bytes) -> types.CallToolResult:
    if status == 401:
        return _refused(f"{service} needs its token; {_TOKEN_REMEDY}")
    if status in (404, 405):
        return _refused(f"{service} has no MCP; it is older than this command: update it")
    try:
        reply = json.loads(_sent(body))
        if status == 200 and "result" in reply:
            return types.CallToolResult.model_validate(reply["result"])
        said = str(reply["error"]["message"])
    except (ValueError, LookupError, TypeError, ValidationError):
        said = f"status {status}, in a form that is not known"
    return _refused(f"{service} answered: {said[:1000]}")


def _sent(body: bytes) -> bytes:
    """The message in an answer; one that took long comes as a server-sent event."""
    events = [line.removeprefix(b"data: ") for line in body.splitlines() if line.startswith(b"data: ")]
    return events[-1] if events and not body.startswith(b"{") else body


def _refused(why: str) -> types.CallToolResult:
    return tool_result(failed("service", why))
