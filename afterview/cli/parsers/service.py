"""Arguments of the service and its configuration. Loads only argparse."""

from afterview.cli.parsers.common import Commands, add_command, add_json, add_memory, add_verbosity
from afterview.cli.parsers.strict import strict


def add_service_commands(commands: Commands) -> None:
    """Add `serve` and `config`."""
    _add_serve(commands)
    _add_config(commands)


def _add_serve(commands: Commands) -> None:
    parser = add_command(
        commands, "serve", "stay up: record cameras, and answer over HTTP",
        "Records the cameras of a configuration file, and\nthose that are added over HTTP, and answers questions, with one model for all. "
        "Without a file it begins empty. Listens on\n127.0.0.1:8077; any other address needs a token or an admin. "
        "Ctrl-C or SIGTERM ends it cleanly; SIGHUP reads the file\nagain. docs/service.md begins with the first camera, "
        "docs/api.md has the HTTP API. --json prints the address once it listens.\n\n"
        "examples:\n  afterview serve --memory ./cameras\n  afterview serve home.yaml",
    )  # fmt: skip
    parser.add_argument("config", nargs="?", metavar="CONFIG.yaml", help="configuration file (default: none)")
    add_memory(parser, "directory to record into, unless the file names it", instead="config")
    parser.add_argument(
        "--bind", metavar="ADDRESS", help="address to listen on (default: as the file says, else 127.0.0.1)"
    )
    parser.add_argument("--port", type=int, help="TCP port, 0 for a free one (default: as the file says, else 8077)")


def _add_config(commands: Commands) -> None:
    parser = add_command(
        commands, "config", "check the service's configuration, or print its schema",
        "The file of `afterview serve`.", json=False,
    )  # fmt: skip
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    schema = actions.add_parser(
        "schema", help="print the JSON schema of the file, for editors",
        description="Print the JSON schema of the file. Many editors check a file that begins with\n"
        "# yaml-language-server: $schema=afterview.schema.json\n\nexamples:\n  afterview config schema",
    )  # fmt: skip
    check = actions.add_parser(
        "check", help="read a file, and say what is wrong with it",
        description="Read a file as `serve` does. Connects to no camera.\n\nexamples:\n  afterview config check home.yaml",
    )  # fmt: skip
    check.add_argument("config", metavar="CONFIG.yaml", help="configuration file")
    for action in (schema, check):
        strict(action)
        add_json(action)
        add_verbosity(action)
