"""Arguments of the commands that show frames: `show`, `answers`, and what `ask` and `search` share with them. Loads only argparse."""

import argparse

from afterview.cli.parsers.common import STORED, Commands, add_command, add_force, add_memory


def add_looking_commands(commands: Commands) -> None:
    """show and answers."""
    _add_show(commands)
    _add_answers(commands)


def add_pictures(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --sheet, --open and --force. what: is on the sheet."""
    parser.add_argument("--sheet", metavar="FILE", help=f"also write one picture with {what}: FILE.jpg or FILE.png")
    parser.add_argument("--open", action="store_true", help="open the picture with the viewer of the desktop")
    add_force(parser)


def _add_show(commands: Commands) -> None:
    parser = add_command(
        commands, "show", "show frames: a camera at a time, a frame by its number, or a span as one picture",
        "Reads only the images; no\nmodel is loaded. Without options it shows the newest frame. Without --output and --sheet the "
        "pictures go to a temporary directory.\n`forget` does not reach pictures outside the memory.\n\n"
        "examples:\n  afterview show --memory ./cameras --camera hall --at 14:03 --output hall.jpg\n"
        "  afterview show --memory ./cameras --camera hall --from 14:00 --to 15:00 --count 20 --sheet hour.jpg --open",
    )  # fmt: skip
    add_memory(parser, STORED)
    parser.add_argument(
        "--camera", metavar="NAME", action="append", default=[], help="show this camera (repeatable; default: all)"
    )
    parser.add_argument("--at", metavar="TIME", help="the frame at this time, or the last one before it")
    parser.add_argument("--frame", type=int, metavar="N", help="the frame of this number")
    parser.add_argument(
        "--from", dest="start", metavar="TIME", help="frames from this time on (default: from the first)"
    )
    parser.add_argument("--to", dest="end", metavar="TIME", help="frames up to this time, included (default: now)")
    parser.add_argument("--last", metavar="DURATION", help="frames of the span that ends now, e.g. 15m")
    parser.add_argument(
        "--count", type=int, metavar="N", help="how many frames of a span and camera, evenly spaced (default: 12)"
    )
    parser.add_argument(
        "--output", metavar="FILE", help="write a single frame to FILE.jpg, as it is stored, or FILE.png; of several frames, the sheet"
    )  # fmt: skip
    add_pictures(parser, "all frames and their times")


def _add_answers(commands: Commands) -> None:
    parser = add_command(
        commands, "answers", "list saved answers and searches, open one again, delete them",
        "`ask` and `search` save what they answered, with\nits frames, in the memory: the newest 500, up to 1 GB. `forget` "
        "deletes what comes from forgotten frames there, too.\n\n"
        "examples:\n  afterview answers --memory ./cameras\n  afterview answers ae13 --memory ./cameras --sheet proof.jpg\n"
        "  afterview answers ae13 --memory ./cameras --delete",
    )  # fmt: skip
    parser.add_argument("id", nargs="*", metavar="ID", help="an answer to show or delete; its first letters are enough")
    add_memory(parser, deletes=True)
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="list at most N, newest first (default: 20)")
    parser.add_argument("--delete", action="store_true", help="delete these answers")
    parser.add_argument("--all", action="store_true", help="with --delete: all of them")
    parser.add_argument("--yes", action="store_true", help="delete without asking")
    parser.add_argument("--dry-run", action="store_true", help="show what would be deleted, and delete nothing")
    add_pictures(parser, "the answer and its frames")
