"""Arguments that several commands share. Imports only argparse."""

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

MODEL = "PRESET|PATH|HUB_ID"  # what --model takes


def add_command(
    commands: Commands, name: str, summary: str, more: str = "", *, module: str | None = None, json: bool = True
) -> argparse.ArgumentParser:
    """Add a command and return its parser.

    module: the module in afterview.cli.commands that runs it (default: the name of the command).
    json: whether this parser takes --json, -v and -q; False for a command whose actions take them.
    """
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
    """Add -v and -q."""
    parser.add_argument("-v", "--verbose", action="count", default=0, help="show debug messages, too")
    parser.add_argument("-q", "--quiet", action="count", default=0, help="show only warnings; -qq shows only errors")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print one JSON document on standard output")


def add_force(parser: argparse.ArgumentParser) -> None:
    """Add --force."""
    parser.add_argument("--force", action="store_true", help="replace files that exist already (default: refuse)")


def add_deletion(parser: argparse.ArgumentParser) -> None:
    """Add --yes and --dry-run."""
    parser.add_argument("--yes", action="store_true", help="delete without asking; needed where there is no terminal")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be deleted")


def add_question(parser: argparse.ArgumentParser, verb: str, *, at: str) -> None:
    """Add the memory, the cameras, the span and the model of a question."""
    parser.add_argument(
        "--memory", required=True, metavar="DIR", help="the memory, or its object store: s3://bucket/prefix"
    )
    parser.add_argument(
        "--camera", metavar="NAME", action="append", default=[], help=f"{verb} this camera (repeatable; default: all)"
    )
    parser.add_argument("--from", dest="start", metavar="TIME", help="ignore frames before this time")
    parser.add_argument("--last", metavar="DURATION", help="ignore frames that are older than this, e.g. 2h")
    parser.add_argument("--at", metavar="TIME", help=at)
    parser.add_argument("--model", metavar=MODEL, help="model to use (default: the one the memory was recorded with)")
