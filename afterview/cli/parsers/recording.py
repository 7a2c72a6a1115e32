"""Arguments of `watch` and `replay`."""

import argparse

from afterview.cli.parsers.common import MODEL, Commands, add_command, add_index_encoder, add_memory


def add_recording_commands(commands: Commands) -> None:
    """Add `watch` and `replay`."""
    _add_watch(commands)
    _add_replay(commands)


def _add_watch(commands: Commands) -> None:
    parser = add_command(
        commands, "watch", "record live sources",
        "SOURCE is rtsp://, http(s):// (HLS, MJPEG or progressive), a webcam\n(/dev/video0, or 0), a .sdp file or a test pattern "
        "(lavfi:testsrc2=size=640x360:rate=25). After the first frame it reconnects\nwithout limit. Several sources are recorded at once; "
        "one that fails does not end the others, and the exit status\nis then not 0. Ctrl-C ends all of them cleanly.\n\n"
        "A password in an address is visible to other users of this machine (`ps`). Instead, name a variable that begins\nwith AFTERVIEW_: "
        "its value is put in inside this process.\n\nexamples:\n"
        "  afterview watch lavfi:testsrc2=size=640x360:rate=25 --memory ./cameras --camera pattern --for 20s\n"
        "  export AFTERVIEW_CAM1_PASSWORD=...\n"
        "  afterview watch 'rtsp://user:{AFTERVIEW_CAM1_PASSWORD}@10.0.0.7/stream' rtsp://10.0.0.8/stream \\\n"
        "      --camera hall --camera yard --memory ./cameras", module="record",
    )  # fmt: skip
    parser.add_argument("sources", metavar="SOURCE", nargs="+", help="what to record; options come after all sources")
    _add_recording(parser, several="; with several sources once for each, in their order")
    parser.add_argument(
        "--for", dest="seconds", metavar="DURATION", help="stop after this long, e.g. 90s or 2h (default: at Ctrl-C)"
    )
    parser.add_argument(
        "--keep-trying", action="store_true", help="keep trying when the first connection fails (default: give up)"
    )
    parser.add_argument(
        "--transport", choices=("tcp", "udp", "http", "multicast"),
        help="how RTSP sends its pictures; http: through a proxy that lets only HTTP pass (default: tcp)",
    )  # fmt: skip
    parser.add_argument("--udp", action="store_true", help="short for --transport udp")
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
    parser.add_argument(
        "--first-picture-timeout", type=float, default=120.0, metavar="S",
        help="seconds to wait for the first key frame of a connection while data comes (default: 120)",
    )  # fmt: skip
    parser.set_defaults(live=True)


def _add_replay(commands: Commands) -> None:
    parser = add_command(
        commands, "replay", "record video files, through the same path as a live stream",
        "Frames keep the times of the\nrecording. Several files, a folder, or a pattern in quotes are recorded into one camera, in order "
        "of time; what the camera\nhas already is skipped, so an interrupted command can be run again.\n\nexamples:\n"
        "  afterview replay story.mp4 --memory ./cameras --camera hall --start 2026-11-27T08:00\n"
        "  afterview replay '/media/frigate/recordings/*/*/front/*.mp4' --memory ./cameras --camera front",
        module="record",
    )  # fmt: skip
    parser.add_argument(
        "sources", metavar="FILE", nargs="+", help="a recording, a folder, or a pattern in quotes; options come after all files"
    )  # fmt: skip
    _add_recording(parser)
    parser.add_argument(
        "--speed",
        default="max",
        metavar="N",
        help="1 for the speed of the recording, 10 for ten times as fast, or max (default)",
    )
    parser.add_argument(
        "--start", metavar="TIME",
        help="when the recording began (default: as the file or its name says, else now); of several files: the first one, and each other "
        "one follows the one before",
    )  # fmt: skip
    parser.add_argument(
        "--interval", metavar="DURATION", help="from one picture to the next, with --start, for pictures that nothing dates"
    )  # fmt: skip
    parser.add_argument(
        "--date", choices=("auto", "stated", "name", "modified"), default="auto",
        help="what dates the files: the creation time that they state, their names, or when they were last written "
        "(default: the first, else the second)",
    )  # fmt: skip
    parser.set_defaults(live=False)


def _add_recording(parser: argparse.ArgumentParser, *, several: str = "") -> None:
    add_memory(parser, "directory to record into, created if it does not exist")
    parser.add_argument(
        "--camera", metavar="NAME", action="append", default=[],
        help=f"name of the camera (default: taken from the source){several}",
    )  # fmt: skip
    parser.add_argument(
        "--fps", type=float, help="frames to keep per second of video (default: as the camera does, 1 for a new camera)"
    )
    parser.add_argument(
        "--model", metavar=MODEL,
        help="model whose encoders to use: a preset (tiny, hour-llava-3b, hour-llava-7b), a preset file, a checkpoint directory or a "
        "hub id (default: the model the camera was recorded with, or tiny for a new camera)",
    )  # fmt: skip
    add_index_encoder(parser)
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
        "--ack-file", metavar="FILE", action="append", default=[],
        help=f"append 'id time crc' per frame, after the frame is durable on disk; refuses a file of other content{several}",
    )  # fmt: skip
    parser.add_argument(
        "--image-size", type=int, metavar="N",
        help="short side of stored images in pixels; smaller pictures keep their size, and the number is kept for the camera. GB a day at "
        "1 frame per second, on real footage: 240: 0.9 to 1.7; 360: 1.5 to 3.0; 480: 1.5 to 3.8; estimated: 720: 5 to 8; 1080: 9 to 14. "
        "Tokens take 1.5 (tiny) or 13 (hour-llava-3b) beside them (default: as the camera does, 480 for a new camera)",
    )  # fmt: skip
    parser.add_argument(
        "--stream", type=int, metavar="N", action="append", default=[],
        help="which video stream of the source, counted from 0 as `watch` and `replay` list them (default: the one that the source marks "
        "as its default, else the largest that moves)" + (several and "; with several sources once for all, or once for each"),
    )  # fmt: skip
    parser.add_argument(
        "--decode", choices=("needed", "full", "keyframes", "cuda"), default="needed",
        help="needed: decode only the pictures that are remembered, and what they need; full: decode all. Both remember the same frames; "
        "full also counts damage in pictures that nobody needs. keyframes: for very many cameras; remember the first key frame of every "
        "slot, so that frames may come later, and fewer, than --fps says. cuda: as needed, on an NVIDIA GPU (default: needed)",
    )  # fmt: skip
    parser.add_argument(
        "--reuse-features", type=float, metavar="N",
        help="let a frame take the features of one before it if no block of 16 x 16 pixels differs by more than N grey levels of 255 "
        "on average, and the whole by half of that: still scenes then cost less; 0: equal pictures only. At most 30 in a row, never across "
        "a gap, not for models that merge clips (default: off)",
    )  # fmt: skip
    parser.add_argument(
        "--sync-every", type=float, default=0.0, metavar="S",
        help="sync frames to disk every S seconds, 0 to 60, instead of one by one: less wear on the disk, but a power cut loses the frames "
        "of up to S seconds (default: 0)",
    )  # fmt: skip
