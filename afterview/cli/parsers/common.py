"""Arguments that several commands share. Imports only argparse."""

import argparse
from typing import TypeAlias

from afterview.cli.parsers.strict import strict

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_OUTPUT = "output"
MODEL = "PRESET|PATH|HUB_ID"  # what --model takes
STORED = "the memory, or its object store: s3://BUCKET/PREFIX"  # what --memory takes where a command only reads
MEMORY_DEFAULT = "(default: AFTERVIEW_MEMORY, else afterview/memory in the user's data directory)"


def add_command(
    commands: Commands, name: str, summary: str, more: str = "", *, module: str | None = None, json: bool = True
) -> argparse.ArgumentParser:
    """Add a command and return its parser.

    module: the module in afterview.cli.commands that runs it (default: the name of the command).
    json: whether this parser takes --json, -v and -q; False for a command whose actions take them.
    """
    parser = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}. {more}".strip())
    strict(parser)
    parser.set_defaults(module=f"afterview.cli.commands.{module or name}")
    if json:
        add_json(parser)
        add_verbosity(parser)
    return parser


def add_memory(
    parser: argparse.ArgumentParser,
    text: str = "the memory",
    *,
    positional: bool = False,
    deletes: bool = False,
    instead: str = "",
) -> None:
    """Add --memory DIR. `afterview.cli.arguments.resolve_memory` turns what is given, or the default, into `arguments.memory`.

    positional: accept the directory as an argument without an option, too. deletes: the command may delete what is in the memory, so even
    -q shows which one was taken by default. instead: an argument of the command that makes a memory unnecessary.
    """
    if positional:
        parser.add_argument("memory_argument", nargs="?", metavar="DIR", help="the same as --memory DIR")
    parser.add_argument("--memory", metavar="DIR", help=f"{text} {MEMORY_DEFAULT}")
    parser.set_defaults(memory_deletes=deletes, memory_instead=instead)


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    """Add -v and -q."""
    group = _output_group(parser)
    group.add_argument("-v", "--verbose", action="count", default=0, help="show debug messages, too")
    group.add_argument("-q", "--quiet", action="count", default=0, help="show only warnings; -qq shows only errors")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    _output_group(parser).add_argument(
        "--json", action="store_true", help="print one JSON document on standard output, also for an error"
    )


def _output_group(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """The group of the options that every command has; the help shows it last."""
    known = [group for group in parser._action_groups if group.title == _OUTPUT]
    return known[0] if known else parser.add_argument_group(_OUTPUT)


def add_force(parser: argparse.ArgumentParser) -> None:
    """Add --force."""
    parser.add_argument("--force", action="store_true", help="replace files that exist already (default: refuse)")


def add_deletion(parser: argparse.ArgumentParser) -> None:
    """Add --yes and --dry-run."""
    parser.add_argument("--yes", action="store_true", help="delete without asking; needed where there is no terminal")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be deleted")


def add_question(parser: argparse.ArgumentParser, verb: str, *, at: str) -> None:
    """Add the memory, the cameras, the span and the model of a question."""
    add_memory(parser, STORED)
    parser.add_argument(
        "--camera", metavar="NAME", action="append", default=[], help=f"{verb} this camera (repeatable; default: all)"
    )
    parser.add_argument("--from", dest="start", metavar="TIME", help="ignore frames before this time")
    parser.add_argument("--last", metavar="DURATION", help="ignore frames that are older than this, e.g. 2h")
    parser.add_argument("--at", metavar="TIME", help=at)
    parser.add_argument("--model", metavar=MODEL, help="model to use (default: the one the memory was recorded with)")
    add_index_encoder(parser)
    parser.add_argument(
        "--no-service", action="store_true", help="load the model in this command, also where a service (`serve`) holds the memory"
    )  # fmt: skip


def add_index_encoder(parser: argparse.ArgumentParser) -> None:
    """Add --index-encoder."""
    parser.add_argument(
        "--index-encoder", metavar="PATH|HUB_ID",
        help="SigLIP checkpoint with both towers that finds frames by text (default: as the memory or the model's preset says)",
    )  # fmt: skip


def add_results_and_limit(parser: argparse.ArgumentParser, name: str) -> None:
    """--results and --for, of commands that train and ask for hours and can be continued."""
    parser.add_argument(
        "--results", metavar="FILE", help=f"the results, a .json, with a .md beside it (default: WORK/{name}.json)"
    )
    parser.add_argument(
        "--for",
        dest="limit",
        metavar="DURATION",
        help="stop after this time, for example 2h (default: when all is done)",
    )
