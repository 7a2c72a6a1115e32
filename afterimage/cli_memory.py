"""The part of the command line that looks after a memory: its arguments. Loads only argparse."""

import argparse
from typing import TypeAlias

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_memory_commands(commands: _Commands) -> None:
    """fsck, search and the commands that change what is remembered."""
    _add_fsck(commands)
    _add_search(commands)


def _command(
    commands: _Commands, name: str, summary: str, more: str, *, module: str | None = None
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}. {more}".strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(module=f"afterimage.commands.{module or name}", command=name)
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    return parser


def _add_fsck(commands: _Commands) -> None:
    parser = _command(
        commands, "fsck", "check every invariant of a memory",
        "Counts, checksums, times, embeddings, images, journal, index,\nand that nothing is left of what was forgotten. Works beside a "
        "live watch; --repair needs it stopped.\nExits 0 when clean or repaired, 1 when damage is left. Damage costs only the chunk it "
        "is in: questions go on\nwith the other frames, and say how many were left out.",
    )  # fmt: skip
    parser.add_argument("memory", metavar="DIR")
    parser.add_argument(
        "--repair", action="store_true", help="put right what can be, and say what it cost; nothing readable is lost"
    )


def _add_search(commands: _Commands) -> None:
    parser = _command(
        commands, "search", "find the frames that look most like a text",
        "Works while a camera is being watched. Compares every\nframe up to about a million of them; beyond, it says that the search was "
        "approximate.\n\nexample:\n  afterimage search \"a red car\" --memory ./memory --last 2h --top 5",
    )  # fmt: skip
    parser.add_argument("text", metavar="TEXT")
    parser.add_argument("--memory", required=True, metavar="DIR")
    parser.add_argument(
        "--camera", metavar="NAME", action="append", default=[], help="search this camera (repeatable; default: all)"
    )
    parser.add_argument("--top", type=int, default=10, metavar="N", help="how many frames (default: 10)")
    parser.add_argument("--from", dest="start", metavar="TIME", help="look back no further than this")
    parser.add_argument("--last", metavar="DURATION", help="look back this far, e.g. 2h")
    parser.add_argument("--at", metavar="TIME", help="only frames up to this moment")
    parser.add_argument(
        "--model", metavar="PRESET|PATH|HUB_ID", help="default: the model that the memory was recorded with"
    )
