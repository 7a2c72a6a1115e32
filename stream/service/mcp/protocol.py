"""The tools in the words of the Model Context Protocol, by its SDK. Loading this module loads the SDK, which takes most of a second."""

import base64
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from afterview.stream.service.mcp.arguments import FORMS, schema_of
from afterview.stream.service.mcp.results import Result
from afterview.stream.service.mcp.texts import DESCRIPTIONS, INSTRUCTIONS, TITLES

_SCHEMAS = {name: schema_of(name) for name in FORMS}
Context = ServerRequestContext[Any, Any]
Call = Callable[[str, Mapping[str, Any] | None, Context], Awaitable[types.CallToolResult]]

logging.getLogger("mcp").setLevel(logging.WARNING)  # it announces each request


def make_server(call: Call, version: str) -> Server[Any]:
    """A server of both eras. call: what a tool says; the tool is known, its arguments are not checked."""

    async def list_tools(context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools())

    async def call_tool(context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        if params.name not in FORMS:
            raise MCPError(types.INVALID_PARAMS, f"unknown tool '{params.name[:60]}'; the tools: {', '.join(FORMS)}")
        return await call(params.name, params.arguments, context)

    return Server(
        "afterview", version=version, title="Afterview", instructions=INSTRUCTIONS,
        on_list_tools=list_tools, on_call_tool=call_tool, get_tool_input_schema=_SCHEMAS.get,
    )  # fmt: skip


def tools() -> list[types.Tool]:
    """All tools, the same for every client: what they may see does not change them."""
    return [
        types.Tool(
            name=name, title=TITLES[name], description=DESCRIPTIONS[name].replace("\n", " "), input_schema=_SCHEMAS[name],
            annotations=types.ToolAnnotations(title=TITLES[name], read_only_hint=True, open_world_hint=False),
        )
        for name in FORMS
    ]  # fmt: skip


def tool_result(result: Result) -> types.CallToolResult:
    """What a tool says, as the protocol has it."""
    content: list[types.ContentBlock] = [types.TextContent(type="text", text=result.text)]
    content += [
        types.ImageContent(type="image", data=base64.b64encode(picture).decode(), mime_type="image/jpeg")
        for picture in result.pictures
    ]
    content += [types.ResourceLink(name=link.name, uri=link.url, mime_type="image/jpeg") for link in result.links]
    return types.CallToolResult(content=content, structured_content=result.data, is_error=result.failed)
