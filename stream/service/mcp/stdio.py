"""The tools over standard input and output, for an assistant that starts a program: by a running service, or by the memory itself."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from mcp import types
from mcp.server.stdio import stdio_server

from afterview.stream.service.client import find_service
from afterview.stream.service.engine import LoadModel
from afterview.stream.service.mcp.alone import ReadOnlyEngine
from afterview.stream.service.mcp.forward import Service, forward
from afterview.stream.service.mcp.lines import lines_of
from afterview.stream.service.mcp.protocol import make_server, tool_result
from afterview.stream.service.mcp.tools import Caller, Tools
from afterview.stream.service.measured import Measured
from afterview.stream.service.people.access import owner
from afterview.stream.service.questions import Questions

_LOGGER = logging.getLogger(__name__)

CallTool = Callable[[str, Mapping[str, Any] | None], Awaitable[types.CallToolResult]]


async def serve_by_service(service: Service, version: str) -> None:
    """Hand every call on to a service, until standard input ends."""
    await _serve(lambda name, given: forward(service, version, name, given), version)


async def serve_by_memory(memory: Path, load_model: LoadModel, version: str) -> None:
    """Answer from a memory until standard input ends: by its service while there is one, else with a model of this process.

    Raises FormatMismatch.
    """
    engine = ReadOnlyEngine(memory, load_model, version=version)
    engine.start()
    tools = Tools(engine, Questions(engine, Measured()), wake=engine.wake)
    caller, said = Caller(owner(door="mcp")), set[str]()

    async def call(name: str, given: Mapping[str, Any] | None) -> types.CallToolResult:
        client, why = await asyncio.to_thread(find_service, memory)
        if client is not None:
            return await forward(Service(client.holder.url, memory), version, name, given)
        if why and why not in said:
            said.add(why)
            _LOGGER.warning("note: %s; this command reads the memory itself", why)
        return tool_result(await tools.call(name, given, caller))

    try:
        await _serve(call, version)
    finally:
        await engine.stop()


async def _serve(call: CallTool, version: str) -> None:
    async def with_context(name: str, given: Mapping[str, Any] | None, context: Any) -> types.CallToolResult:
        return await call(name, given)

    server = make_server(with_context, version)
    lines: Any = lines_of(sys.stdin.fileno())  # the SDK only iterates over it
    async with stdio_server(stdin=lines) as (requests, replies):
        await server.run(requests, replies, server.create_initialization_options())
