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
from afterview.cli.parsers.common import MODEL, Commands, add_command, add_question
from afterview.cli.parsers.memory import add_memory_commands
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
  afterview watch rtsp://user:password@camera/stream --memory ./cameras --camera "front door"
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
        "--memory", required=True, metavar="DIR", help="directory to record into; created if it does not exist"
    )
    parser.add_argument("--camera", metavar="NAME", help="name of the camera (default: taken from the source)")
    parser.add_argument("--fps", type=float, default=1.0, help="frames to keep per second of video (default: 1)")
    parser.add_argument(
        "--model", metavar=MODEL,
        help="model whose encoders to use: a preset (tiny, hour-llava-3b, hour-llava-7b), a preset file, a checkpoint directory or a "
        "hub id (default: the model the camera was recorded with, or tiny for a new camera)",
    )  # fmt: skip
    parser.add_argument(
        "--tokens", choices=["float16", "int8"],
        help="how a new camera stores visual tokens; int8 takes half the space, with an error of 0.35 %% "
        "(default: as the model's preset says)",
    )  # fmt: skip
    parser.add_argument(
        "--timezone",
        metavar="ZONE",
        help="time zone of the camera, e.g. Europe/Paris (default: the zone of this machine)",
    )
    parser.add_argument(
        "--ack-file",
        metavar="FILE",
        help="append 'id time crc' per frame, after the frame is durable on disk; refuses a file of other content",
    )
    parser.add_argument(
        "--sync-every", type=float, default=0.0, metavar="S",
        help="sync frames to disk every S seconds, 0 to 60, instead of one by one: less wear on the disk, but a power cut loses the frames "
        "of up to S seconds (default: 0)",
    )  # fmt: skip


def _add_watch(commands: Commands) -> None:
    parser = add_command(
        commands, "watch", "record a live source",
        "SOURCE is rtsp://, http(s):// (HLS, MJPEG or progressive), a webcam\n(/dev/video0) or a test pattern "
        "(lavfi:testsrc2=size=640x360:rate=25). After the first frame it reconnects\nwithout limit. Ctrl-C ends it cleanly.\n\nexample:\n"
        "  afterview watch lavfi:testsrc2=size=640x360:rate=25 --memory ./cameras --camera pattern --for 20s", module="record",
    )  # fmt: skip
    parser.add_argument("source", metavar="SOURCE")
    _add_recording(parser)
    parser.add_argument("--for", dest="seconds", metavar="DURATION", help="stop after this long, e.g. 90s or 2h")
    parser.add_argument("--keep-trying", action="store_true", help="keep trying when the first connection fails")
    parser.add_argument("--udp", action="store_true", help="RTSP over UDP instead of TCP")
    parser.add_argument(
        "--open-timeout", type=float, default=10.0, metavar="S", help="seconds to wait for the connection (default: 10)"
    )
    parser.add_argument(
        "--read-timeout",
        type=float,
        default=10.0,
        metavar="S",
        help="seconds without data after which the connection counts as lost (default: 10)",
    )
    parser.set_defaults(live=True)


def _add_replay(commands: Commands) -> None:
    parser = add_command(
        commands, "replay", "record a video file, through the same path as a live stream",
        "Frames keep the times of the\nrecording.\n\nexample:\n"
        "  afterview replay story.mp4 --memory ./cameras --camera hall --start 2026-11-27T08:00", module="record",
    )  # fmt: skip
    parser.add_argument("source", metavar="FILE")
    _add_recording(parser)
    parser.add_argument(
        "--speed", default="max", help="1 for the speed of the recording, 10 for ten times as fast, or max (default)"
    )
    parser.add_argument(
        "--start", metavar="TIME", help="when the recording began (default: as the file says, else now)"
    )
    parser.set_defaults(live=False)


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

        traceback.print_exception(error)
    from afterview.memory.base.held_directory import shown  # late: `--help` does not need it

    text = shown(str(error)).splitlines()[0] if str(error) else ""
    named = isinstance(error, AfterviewError)
    message = (
        text if named else f"{type(error).__name__}: {text} (this is a bug; set AFTERVIEW_DEBUG=1 for the traceback)"
    )
    print(f"afterview: error: {message}", file=sys.stderr)
    return status
