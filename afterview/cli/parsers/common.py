"""What the parsers of all commands have in common. Loads only argparse."""

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

MODEL = "PRESET|PATH|HUB_ID"  # what --model takes


def add_command(
    commands: Commands, name: str, summary: str, more: str = "", *, module: str | None = None, json: bool = True
) -> argparse.ArgumentParser:
    """A command's parser. module: of afterview.cli.commands that runs it (default: of its name). json: whether it takes --json, -v and -q itself."""
    parser = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}. {more}".strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(module=f"afterview.cli.commands.{module or name}")
    if json:
        add_json(parser)
        add_verbosity(parser)
    return parser


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    """-v and -q."""
    parser.add_argument("-v", "--verbose", action="count", default=0, help="say more on standard error")
    parser.add_argument(
        "-q", "--quiet", action="count", default=0, help="only warnings on standard error; -qq: only errors"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")


def add_question(parser: argparse.ArgumentParser, verb: str, *, at: str) -> None:
    """Of which memory, cameras and span something is asked, and with which model."""
    parser.add_argument("--memory", required=True, metavar="DIR", help="the memory; or its store, s3://bucket/prefix")
    parser.add_argument(
        "--camera", metavar="NAME", action="append", default=[], help=f"{verb} this camera (repeatable; default: all)"
    )
    parser.add_argument("--from", dest="start", metavar="TIME", help="look back no further than this")
    parser.add_argument("--last", metavar="DURATION", help="look back this far, e.g. 2h")
    parser.add_argument("--at", metavar="TIME", help=at)
    parser.add_argument("--model", metavar=MODEL, help="default: the model that the memory was recorded with")
