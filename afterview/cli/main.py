"""The command line. Loads only argparse until a command runs, so that `--help` and `info` answer at once.

Every command takes --json (one JSON document on standard output; progress on standard error) and exits 0 on success, 2 on bad
usage or input, 1 on failure.
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
from afterview.cli.parsers.common import MODEL, Commands, add_command, add_question
from afterview.cli.parsers.memory import add_memory_commands
from afterview.cli.parsers.training import add_training_commands
from afterview.configs.errors import AfterviewError

_EXAMPLES = """\
examples:
  afterview watch rtsp://user:password@camera/stream --memory ./cameras --camera "front door"
  afterview replay yesterday.mp4 --memory ./cameras --start 2026-11-19T08:00
  afterview ask "What colour was the car?" --memory ./cameras --last 2h
  afterview ask "Is anybody there?" --memory ./cameras --at 14:03 --json
  afterview info ./cameras

Times: 2026-11-20T14:03:00 (the camera's zone unless one is given), 14:03 (today), now, or Unix seconds.
Set AFTERVIEW_DEBUG=1 to see the traceback of a failure.
"""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="afterview",
        description="Watches live video, remembers every second of it, and answers questions about anything it has seen.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"afterview {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_watch(commands)
    _add_replay(commands)
    _add_ask(commands)
    _add_info(commands)
    _add_demo(commands)
    add_memory_commands(commands)
    add_training_commands(commands)
    return parser


def _add_recording(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--memory", required=True, metavar="DIR", help="the memory to record into; made if it is not there"
    )
    parser.add_argument("--camera", metavar="NAME", help="the camera's name (default: from the source)")
    parser.add_argument("--fps", type=float, default=1.0, help="frames to keep per second of video (default: 1)")
    parser.add_argument(
        "--model", metavar=MODEL,
        help="whose encoders to use: a preset (tiny, hour-llava-3b, hour-llava-7b), a preset file, a checkpoint directory or a "
        "hub id (default: the camera's own, else tiny)",
    )  # fmt: skip
    parser.add_argument(
        "--tokens", choices=["float16", "int8"],
        help="how a new camera keeps its visual tokens: as they are, or in half the space, off by 0.4 %% "
        "(default: as the model's preset says)",
    )  # fmt: skip
    parser.add_argument(
        "--timezone", metavar="ZONE", help="the camera's time zone, e.g. Europe/Paris (default: this machine's)"
    )
    parser.add_argument(
        "--ack-file", metavar="FILE", help="append 'id time crc' of each frame, only after it is durable on disk"
    )
    parser.add_argument(
        "--sync-every", type=float, default=0.0, metavar="S",
        help="make frames durable together, every S seconds: a power cut then costs the frames of the last S seconds, and a disk that "
        "wears is spared (default: 0, each frame as soon as it is written)",
    )  # fmt: skip


def _add_watch(commands: Commands) -> None:
    parser = add_command(
        commands, "watch", "watch a live source and remember it",
        "SOURCE is rtsp://, http(s):// (HLS or MJPEG), a webcam (/dev/video0)\nor a test pattern (lavfi:testsrc2=size=640x360:rate=25). "
        "Reconnects for ever once the first frame\nhas come in. Ctrl-C ends it cleanly.", module="record",
    )  # fmt: skip
    parser.add_argument("source", metavar="SOURCE")
    _add_recording(parser)
    parser.add_argument("--for", dest="seconds", metavar="DURATION", help="stop after this long, e.g. 90s or 2h")
    parser.add_argument("--keep-trying", action="store_true", help="wait for a source that is not there yet")
    parser.add_argument("--udp", action="store_true", help="RTSP over UDP instead of TCP")
    parser.add_argument(
        "--open-timeout", type=float, default=10.0, metavar="S", help="seconds to wait for a connection (default: 10)"
    )
    parser.add_argument(
        "--read-timeout",
        type=float,
        default=10.0,
        metavar="S",
        help="seconds without data that count as lost (default: 10)",
    )
    parser.set_defaults(live=True)


def _add_replay(commands: Commands) -> None:
    parser = add_command(
        commands, "replay", "take a recorded file in, by the same path as a live stream",
        "The recording keeps its own clock.", module="record",
    )  # fmt: skip
    parser.add_argument("source", metavar="FILE")
    _add_recording(parser)
    parser.add_argument("--speed", default="max", help="1 for the recording's own pace, 10, ... or max (default)")
    parser.add_argument(
        "--start", metavar="TIME", help="when the recording began (default: the file's creation time, else now)"
    )
    parser.set_defaults(live=False)


def _add_ask(commands: Commands) -> None:
    parser = add_command(
        commands, "ask", "ask about anything a memory has seen",
        "Works while a camera is being watched. Prints the answer,\nthe frames that prove it, and what it could and could not know.",
    )  # fmt: skip
    parser.add_argument("question", metavar="QUESTION")
    add_question(parser, "ask", at="answer as of this moment: nothing later is seen")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the answer's wording, where the model samples (default: 0)"
    )
    parser.add_argument(
        "--evidence",
        type=int,
        default=8,
        metavar="N",
        help="frames to name as evidence, at most, of each camera (default: 8)",
    )


def _add_info(commands: Commands) -> None:
    parser = add_command(commands, "info", "say what a memory holds")
    parser.add_argument("memory", metavar="DIR", help="the memory; or its store, s3://bucket/prefix")


def _add_demo(commands: Commands) -> None:
    parser = add_command(
        commands, "demo", "see the whole of it: history, a live stream, questions in mid-stream",
        "Makes ten minutes of synthetic H.264 video,\nreplays nine as history, watches the tenth live from a server in another process, "
        "and puts ten questions drawn\nby the seed "
        "while it runs, some as of earlier moments. Prints answer, truth and score. Takes under three minutes.",
    )  # fmt: skip
    parser.add_argument(
        "--output",
        metavar="DIR",
        default="demo-output",
        help="where video, memory and pictures go (default: demo-output)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the synthetic world and its questions (default: 0)")
    parser.add_argument("--questions", type=int, default=10, metavar="N", help="how many are put (default: 10)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter is no reason to fail
    chosen = build_parser().parse_args(arguments)
    from afterview.cli.logs import show_logs  # late: `--help` needs none

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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; say nothing more to it
        return 1
    except Exception as error:  # the last line of defence: one line for a person, the traceback on request
        return _fail(error, 1)


def _load(module: str) -> ModuleType:
    """Import a command. Collecting garbage meanwhile finds none and takes a tenth of the time that `info` takes."""
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        gc.enable()


def _fail(error: Exception, status: int) -> int:
    if os.environ.get("AFTERVIEW_DEBUG"):
        import traceback

        traceback.print_exception(error)
    text = str(error).splitlines()[0] if str(error) else ""
    named = isinstance(error, AfterviewError)
    message = (
        text if named else f"{type(error).__name__}: {text} (this should not happen; AFTERVIEW_DEBUG=1 shows where)"
    )
    print(f"afterview: error: {message}", file=sys.stderr)
    return status
