"""Command line: parse the arguments, run one command, report errors.

Imports only argparse and the parsers until a command runs, so that `--help` and `info` start quickly. Every command takes --json: one JSON
document on standard output, progress on standard error. configs.errors.ExitStatus has the exit statuses.
"""

import argparse
import contextlib
import importlib
import json
import sys
from collections.abc import Sequence
from types import ModuleType

from afterview import __version__
from afterview.cli.failures import describe_failure, kind_of, say, with_streams, words
from afterview.cli.imports import without_collection
from afterview.cli.parsers.chat import add_chat_command
from afterview.cli.parsers.common import STORED, Commands, add_command, add_memory, add_question
from afterview.cli.parsers.generation import add_generation
from afterview.cli.parsers.looking import add_looking_commands, add_pictures
from afterview.cli.parsers.marathon import add_marathon_command
from afterview.cli.parsers.mcp import add_mcp_command
from afterview.cli.parsers.memory import add_memory_commands
from afterview.cli.parsers.models import add_doctor_command, add_models_command
from afterview.cli.parsers.own_model import add_own_model
from afterview.cli.parsers.parser import Parser, WrongArguments
from afterview.cli.parsers.recording import add_recording_commands
from afterview.cli.parsers.service import add_service_commands
from afterview.cli.parsers.shell import add_completion_command
from afterview.cli.parsers.training import add_training_commands
from afterview.cli.parsers.users import add_user_commands
from afterview.configs.errors import AfterviewError, ExitStatus

_EXAMPLES = """\
first steps (synthetic video, no camera needed):
  afterview world make story.mp4 --seed 7 --for 5m
  afterview replay story.mp4 --memory ./cameras --camera hall --start 2026-11-27T08:00
  afterview ask "Did you see a red ring?" --memory ./cameras
  afterview search "a red ring" --memory ./cameras --top 5
  afterview info ./cameras

a live camera:
  export AFTERVIEW_PASSWORD=...    # read by this process alone; a password in the address is visible to all users (ps)
  afterview watch 'rtsp://user:{AFTERVIEW_PASSWORD}@camera/stream' --memory ./cameras --camera "front door"
  afterview ask "Which scene do you see now?" --memory ./cameras --camera "front door" --last 2h --json

The default model, tiny, understands only synthetic video. For real footage use --model hour-llava-3b (on a GPU).

Times: 2026-11-20T14:03:00, 2026-11-20, 14:03 (today), "yesterday 14:00", "monday 14:00", "10 minutes ago", now, or Unix seconds; in
the camera's time zone, unless the time has an offset (14:03+01:00). Durations: 90s, 15m, 2h, 3d, "10 minutes".

Without --memory the memory is the directory in the variable AFTERVIEW_MEMORY, otherwise afterview/memory in the user's data directory
($XDG_DATA_HOME, or ~/.local/share).

`afterview COMMAND --help` explains a command. AFTERVIEW_DEBUG=1 shows the traceback of a failure. Exit status: 0 done, 1 failure, 2 wrong
usage or input, 130 interrupted.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser: argparse.ArgumentParser = Parser(
        prog="afterview",
        description="Watch live video, remember every second of it, and answer questions about anything it has seen.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=f"afterview {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    add_recording_commands(commands)
    add_service_commands(commands)
    add_user_commands(commands)
    add_mcp_command(commands)
    _add_ask(commands)
    add_chat_command(commands)
    add_looking_commands(commands)
    _add_info(commands)
    _add_demo(commands)
    add_memory_commands(commands)
    add_models_command(commands)
    add_doctor_command(commands)
    add_training_commands(commands)
    add_marathon_command(commands)
    add_completion_command(commands)
    return parser


def _add_ask(commands: Commands) -> None:
    parser = add_command(
        commands, "ask", "ask about anything a memory has seen",
        "Works during a live watch. Prints the answer, the\nframes that prove it (evidence), and which frames it is based on"
        " (coverage). `afterview answers` opens it again.\n\n"
        "examples:\n  afterview ask \"Did you see a red ring?\" --memory ./cameras --camera hall\n"
        "  afterview ask \"Which scene do you see now?\" --memory ./cameras --last 2h\n"
        "  afterview ask \"Which scene do you see now?\" --memory ./cameras --at 14:03",
    )  # fmt: skip
    parser.add_argument("question", metavar="QUESTION", help='in quotes, for example "Did you see a red ring?"')
    add_question(parser, "ask", at="answer as of this time: ignore all later frames")
    parser.add_argument(
        "--recording", metavar="FILE", help="ask a VideoChat-Flash about a video file itself, without a memory"
    )
    parser.add_argument(
        "--subtitles",
        metavar="FILE",
        help="also read these (.srt, .vtt, JSON), up to the moment asked; 0:00 is the camera's first frame",
    )
    parser.add_argument(
        "--evidence",
        type=int,
        default=8,
        metavar="N",
        help="maximum number of evidence frames per camera (default: 8)",
    )
    add_pictures(parser, "question, answer and evidence")
    add_own_model(parser)
    add_generation(parser)


def _add_info(commands: Commands) -> None:
    parser = add_command(
        commands, "info", "show cameras, frames, times, gaps, limits and disk use of a memory",
        "Also shows which process records a camera, how old\nthe newest frame is, masks, and what is no longer remembered.\n\n"
        "examples:\n  afterview info ./cameras\n  afterview info --memory s3://bucket/home --json",
    )  # fmt: skip
    add_memory(parser, STORED, positional=True)


def _add_demo(commands: Commands) -> None:
    parser = add_command(
        commands, "demo", "run everything once on synthetic video: history, a live stream, ten questions",
        "Makes ten minutes of\nsynthetic H.264 video, replays nine of them as history, and watches the tenth live from a server in another "
        "process.\nDuring the live minute it asks ten questions, drawn by the seed, some of them as of an earlier time. Prints each\n"
        "answer with the truth, and the score. Takes less than three minutes.",
    )  # fmt: skip
    parser.add_argument(
        "--output",
        metavar="DIR",
        default="demo-output",
        help="directory for video, memory and pictures (default: demo-output)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the synthetic world and of the questions (default: 0)"
    )
    parser.add_argument("--questions", type=int, default=10, metavar="N", help="number of questions (default: 10)")


@with_streams
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status (configs.errors.ExitStatus). With --json an error is a document, too."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    as_json = "--json" in given[: given.index("--") if "--" in given else None]
    chosen = argparse.Namespace()
    try:
        build_parser().parse_args(given, chosen)
        from afterview.cli.logs import show_logs  # late: `--help` does not need it

        show_logs(chosen.verbose - chosen.quiet)
        if hasattr(chosen, "memory"):
            _resolve_memory(chosen)
        return int(_load(chosen.module).run(chosen))
    except WrongArguments as error:
        return _report("usage", str(error), ExitStatus.USAGE, as_json=as_json)
    except AfterviewError as error:
        hint = _memory_hint(error, chosen)
        return _report(kind_of(error), f"{describe_failure(error)}{hint}", error.exit_status, as_json=as_json)
    except KeyboardInterrupt:
        return _report("interrupted", "interrupted", ExitStatus.INTERRUPTED, as_json=as_json)
    except BrokenPipeError:
        return ExitStatus.FAILURE
    except Exception as error:  # any other failure: one line, and the traceback on request
        kind = "unexpected" if words(error) is None else "system"
        return _report(kind, describe_failure(error), ExitStatus.FAILURE, as_json=as_json)


def _resolve_memory(chosen: argparse.Namespace) -> None:
    """Put the memory that the command works on into `chosen.memory`. Raises UsageError."""
    arguments = _load("afterview.cli.arguments")  # late: `--help` does not need it
    arguments.resolve_memory(chosen)


def _load(module: str) -> ModuleType:
    """Import the module of a command."""
    with without_collection():
        return importlib.import_module(module)


def _memory_hint(error: AfterviewError, chosen: argparse.Namespace) -> str:
    """If no memory is there, and nobody named it on the command line: how to name another."""
    from afterview.memory.base.errors import MemoryNotFound  # late: `--help` does not need it

    return getattr(chosen, "memory_hint", "") if isinstance(error, MemoryNotFound) else ""


def _report(kind: str, text: str, status: int, *, as_json: bool) -> int:
    """Say on standard error what went wrong; with --json also as the command's one document. Returns the exit status."""
    say(text, kind=kind)
    if as_json:
        error = {"kind": kind, "message": text, "exit_status": int(status)}
        with contextlib.suppress(OSError):  # nobody reads it
            print(json.dumps({"error": error}, ensure_ascii=False), flush=True)
    return status
