"""Arguments of `mcp`. Loads only argparse."""

from afterview.cli.parsers.common import Commands, add_command, add_memory, add_verbosity

_MORE = """An assistant starts this command and speaks the Model
Context Protocol (MCP) with it over standard input and output. It can then ask what your cameras saw, search, list cameras, and look at
frames. Register it in the assistant's configuration; most take this JSON:

  {"mcpServers": {"afterview": {"command": "afterview",
                                "args": ["mcp", "--memory", "/path/to/cameras"]}}}

While a service (`afterview serve`) runs with that memory, the service answers. Otherwise this command reads the memory itself, and loads a
model at the first question. It records and changes nothing. For a service on another machine:

  {"mcpServers": {"afterview": {"command": "afterview",
                                "args": ["mcp", "--service", "https://nvr.home:8077"],
                                "env": {"AFTERVIEW_TOKEN_FILE": "/path/to/token"}}}}

Assistants that speak MCP over HTTP need no command: their address is that of the service with /mcp, and their header
"Authorization: Bearer TOKEN". docs/mcp.md has more.

examples:
  afterview mcp --memory ./cameras
  AFTERVIEW_TOKEN_FILE=token afterview mcp --service http://127.0.0.1:8077"""


def add_mcp_command(commands: Commands) -> None:
    """Add `mcp`."""
    parser = add_command(commands, "mcp", "let an assistant that speaks MCP ask about a memory", _MORE, json=False)
    add_memory(parser, instead="service")
    parser.add_argument(
        "--service",
        metavar="URL",
        help="ask the service at this address instead; its token is in AFTERVIEW_TOKEN(_FILE)",
    )
    add_verbosity(parser)
