"""Command line: parse the arguments, run one command, report errors.

Imports only argparse and the parsers until a command runs, so that `--help` and `info` start quickly. Every command takes --json: one JSON
document on standard output, progress on standard error. Exit status: 0 success, 1 failure, 2 wrong usage or input, 130 interrupted.
"""

import argparse
import gc
import importlib
import io
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from afterview import __version__
from afterview.cli.parsers.common import Commands, add_command, add_question
from afterview.cli.parsers.memory import add_memory_commands
from afterview.cli.parsers.recording import add_recording_commands
from afterview.cli.parsers.training import add_training_commands
from afterview.configs.errors import AfterviewError

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
Times: 2026-11-20T14:03:00 (in the camera's time zone, unless the time names another), 14:03 (today), now, or Unix seconds.
Durations: 90s, 15m, 2h, 3d.
`afterview COMMAND --help` explains a command. AFTERVIEW_DEBUG=1 shows the traceback of a failure.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="afterview",
        description="Watch live video, remember every second of it, and answer questions about anything it has seen.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"afterview {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    add_recording_commands(commands)
    _add_ask(commands)
    _add_info(commands)
    _add_demo(commands)
    add_memory_commands(commands)
    add_training_commands(commands)
    return parser


def _add_ask(commands: Commands) -> None:
    parser = add_command(
        commands, "ask", "ask about anything a memory has seen",
        "Works during a live watch. Prints the answer, the\nframes that prove it (evidence), and which frames it is based on"
        " (coverage).\n\n"
        "examples:\n  afterview ask \"Did you see a red ring?\" --memory ./cameras --camera hall\n"
        "  afterview ask \"Which scene do you see now?\" --memory ./cameras --last 2h\n"
        "  afterview ask \"Which scene do you see now?\" --memory ./cameras --at 14:03",
    )  # fmt: skip
    parser.add_argument("question", metavar="QUESTION")
    add_question(parser, "ask", at="answer as of this time: ignore all later frames")
    parser.add_argument("--seed", type=int, default=0, help="seed for models that sample their answer (default: 0)")
    parser.add_argument(
        "--evidence",
        type=int,
        default=8,
        metavar="N",
        help="maximum number of evidence frames per camera (default: 8)",
    )


def _add_info(commands: Commands) -> None:
    parser = add_command(commands, "info", "show cameras, frames, times, gaps and disk use of a memory")
    parser.add_argument("memory", metavar="DIR", help="the memory, or its object store: s3://bucket/prefix")


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may lack a character
    chosen = build_parser().parse_args(arguments)
    from afterview.cli.logs import show_logs  # late: `--help` does not need it

    show_logs(chosen.verbose - chosen.quiet)
    try:
        status: int = _load(chosen.module).run(chosen)
        sys.stdout.flush()
        return status
    except AfterviewError as error:
        return _fail(error, error.exit_status)
    except KeyboardInterrupt:
        print("afterview: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or closing stdout at exit fails again
        return 1
    except Exception as error:  # any other failure: one line, and the traceback on request
        return _fail(error, 1)


def _load(module: str) -> ModuleType:
    """Import the module of a command. Without garbage collection, which costs a tenth of the run time of `info` and frees nothing here."""
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        gc.enable()


def _fail(error: Exception, status: int) -> int:
    if os.environ.get("AFTERVIEW_DEBUG"):
        import traceback

        from afterview.stream.source.redact import redact  # late: the traceback may quote an address

        print(redact("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    text = str(error).splitlines()[0] if str(error) else ""
    named = isinstance(error, AfterviewError)
    message = (
        text if named else f"{type(error).__name__}: {text} (this is a bug; set AFTERVIEW_DEBUG=1 for the traceback)"
    )
    print(f"afterview: error: {message}", file=sys.stderr)
    return status
