"""Clients of the SDK, in both eras of the protocol."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult

from afterview.stream.service.mcp import tools
from tests.support.held_model import HeldModel

With: TypeAlias = Callable[[Client], Awaitable[Any]]
ERAS = {"stateless": "2026-07-28", "handshake": "2025-11-25"}


@pytest.fixture(params=["auto", "legacy"], ids=list(ERAS))
def mode(request: pytest.FixtureRequest) -> str:
    """How the client begins: by asking the server what it speaks, or by shaking hands."""
    return str(request.param)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> HeldModel:
    return HeldModel(monkeypatch)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Services that start from now on give a handle at once."""
    monkeypatch.setattr(tools, "PATIENCE_S", 0.2)


def with_client(url: str, mode: str, work: With, *, token: str = "") -> Any:
    """What `work` returns, given a client of a service."""

    async def main() -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with (
            httpx2.AsyncClient(headers=headers, trust_env=False, timeout=20) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
        ):
            return await asyncio.wait_for(work(client), 30)

    return asyncio.run(main())


def call(url: str, mode: str, tool: str, given: dict[str, Any], *, token: str = "") -> CallToolResult:
    """What a tool says."""
    found: CallToolResult = with_client(url, mode, lambda client: client.call_tool(tool, given), token=token)
    return found


def text_of(result: CallToolResult) -> str:
    """The text of a result, which is its first part."""
    first = result.content[0]
    assert first.type == "text"
    return first.text
