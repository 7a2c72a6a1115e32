"""Arguments of the commands on a memory. Loads only argparse."""

import argparse

from afterview.cli.parsers.common import (
    MODEL,
    STORED,
    Commands,
    add_command,
    add_deletion,
    add_force,
    add_index_encoder,
    add_memory,
    add_question,
)
from afterview.cli.parsers.looking import add_pictures
from afterview.cli.parsers.store import add_store_command


def add_memory_commands(commands: Commands) -> None:
    """fsck, search and the commands that change what is remembered."""
    _add_fsck(commands)
    _add_search(commands)
    _add_forget(commands)
    _add_keep(commands)
    _add_pause(commands)
    _add_retain(commands)
    _add_mask(commands)
    _add_reembed(commands)
    _add_exchange(commands)
    add_store_command(commands)


def _add_fsck(commands: Commands) -> None:
    parser = add_command(
        commands, "fsck", "check every invariant of a memory",
        "Checks counts, checksums, times, embeddings, images, journal, index,\nand that nothing is left of forgotten frames. Works "
        "beside a live watch; --repair needs it stopped.\nExits 0 if the memory is clean or repaired, 1 if damage is left "
        "or its object store does\nnot answer (which is no damage). Damage costs only the frames of its chunk: questions "
        "use the others and say how\nmany were left out.",
    )  # fmt: skip
    add_memory(parser, positional=True, deletes=True)
    parser.add_argument(
        "--repair",
        action="store_true",
        help="repair what can be repaired, and report what it cost; never deletes readable frames",
    )
    parser.add_argument(
        "--deep", action="store_true", help="also read every chunk on the object store, not only check that it exists"
    )


def _add_search(commands: Commands) -> None:
    parser = add_command(
        commands, "search", "find the frames that are most similar to a text",
        "Works while a camera is being watched. Compares every\nframe up to about a million of them; beyond, it says that the search was "
        "approximate. Saves the frames found, as `ask` does.\n\nexample:\n"
        "  afterview search \"a red ring\" --memory ./cameras --last 2h --top 5",
    )  # fmt: skip
    parser.add_argument("text", metavar="TEXT", help='in quotes, for example "a red ring"')
    add_question(parser, "search", at="only frames up to this moment")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="how many frames (default: 10)")
    parser.add_argument(
        "--as-is",
        action="store_true",
        help="ask the index the text as it is; else models with a published index get a caption made of a question",
    )
    add_pictures(parser, "the frames found")


_WHICH = {
    "retain": "the whole memory",
    "mask": "the only one, or all to show masks",
    "keep": "the only one, or all to show spans",
}


def _manage(
    commands: Commands, name: str, summary: str, more: str, *, module: str = "manage"
) -> argparse.ArgumentParser:
    parser = add_command(commands, name, summary, more, module=module)
    add_memory(parser, deletes=name in ("forget", "retain", "keep"))
    which = _WHICH.get(name, "the only one")
    parser.add_argument(
        "--camera", metavar="NAME", action="append", default=[], help=f"which camera (repeatable; default: {which})"
    )
    return parser


def _add_span(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="start", metavar="TIME", help="where the span begins")
    parser.add_argument("--to", dest="end", metavar="TIME", help="where it ends, this moment included")
    parser.add_argument("--last", metavar="DURATION", help="the span that ends now, e.g. 15m")


def _add_forget(commands: Commands) -> None:
    parser = _manage(
        commands, "forget", "remove a span from a camera's memory, with proof",
        "Deletes frames, images, features, index entries and saved\nevidence from every file, then reads every chunk again to prove "
        "it. The memory still knows that the span\nwas recorded, so answers say 'no longer remembered'. Works beside a "
        "live watch, and on a full disk.\nFirst it shows what would go and asks.\n\nexample:"
        "\n  afterview forget --memory ./cameras --camera \"front door\" --from 14:00 --to 14:20",
        module="forget",
    )  # fmt: skip
    _add_span(parser)
    add_deletion(parser)


def _add_keep(commands: Commands) -> None:
    parser = _manage(
        commands, "keep", "protect a span from retention",
        "Frames of a kept span are never evicted, whatever `retain` says; only `forget`\nremoves them. If --clear would let the limits "
        "delete frames at once, it first shows which and asks. Without options it shows\nthe kept spans.\n\nexample:\n"
        "  afterview keep --memory ./cameras --camera \"front door\" --from 14:00 --to 14:20",
    )  # fmt: skip
    _add_span(parser)
    parser.add_argument("--clear", action="store_true", help="drop all kept spans")
    add_deletion(parser)


def _add_pause(commands: Commands) -> None:
    more = (
        "Takes effect at once in a live watch, and survives restarts. The time\nbecomes a gap with the reason 'paused'.\n\n"
        'example:\n  afterview pause --memory ./cameras --camera "front door"'
    )
    _add_all(_manage(commands, "pause", "stop remembering what a live camera sees", more))
    _add_all(_manage(commands, "resume", "continue remembering what a live camera sees", "Ends a `pause`."))


def _add_all(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="change every camera of a memory of several")


def _add_retain(commands: Commands) -> None:
    parser = _manage(
        commands, "retain", "limit how much of the past is kept; shows when the disk will be full",
        "Without limits nothing is ever deleted. With\n--camera the limits are that camera's own; without, they apply to the whole "
        "memory: days to every camera, and\ngigabytes divided evenly among the cameras without a limit of their own. The oldest frames are "
        "evicted first.\nWithout options it shows the limits and a forecast. If new limits would delete frames at once, it first "
        "shows which\nand asks. Frames go in whole chunks, so some stay longer than --days: up to the time of 128 frames, about two "
        "minutes\nat one a second.\n\n"
        "example:\n  afterview retain --memory ./cameras --days 30 --gb 500",
        module="retain",
    )  # fmt: skip
    parser.add_argument("--days", type=float, metavar="N", help="evict frames that are this much older than the newest")
    parser.add_argument("--gb", type=float, metavar="N", help="evict the oldest beyond so many gigabytes (1e9 bytes)")
    parser.add_argument(
        "--coarse-days", type=float, metavar="N",
        help="keep a quarter of the tokens of frames that are this much older than the newest: means of 2x2 cells. Images, times and "
        "search stay the same; `reembed --again` rebuilds the tokens from the images",
    )  # fmt: skip
    parser.add_argument("--forever", action="store_true", help="remove the limits; downsampled frames stay downsampled")
    add_deletion(parser)


def _add_mask(commands: Commands) -> None:
    parser = _manage(
        commands, "mask", "black out parts of a camera's picture",
        "Applies before anything is computed or stored, from the next\nframe on, also in a live watch. Stored frames keep "
        "their images: `forget` them. A mask is added to\nthose that are there. Without options it only shows the masks, with "
        "their numbers.\n\nexample (the left third):\n"
        "  afterview mask --memory ./cameras --camera yard --polygon \"0,0 0.33,0 0.33,1 0,1\"",
    )  # fmt: skip
    parser.add_argument(
        "--polygon",
        action="append",
        default=[],
        metavar="CORNERS",
        help='"x,y x,y x,y ...", fractions of the picture (repeatable)',
    )
    parser.add_argument("--replace", action="store_true", help="remove the masks that are there before adding")
    parser.add_argument(
        "--remove",
        type=int,
        action="append",
        default=[],
        metavar="N",
        help="remove the mask of this number (repeatable)",
    )
    parser.add_argument("--clear", action="store_true", help="remove all masks")
    _add_all(parser)


def _add_reembed(commands: Commands) -> None:
    parser = add_command(
        commands, "reembed", "rebuild a memory's features with another model",
        "Embeds every stored image again, beside a live watch or not.\nThe memory stays readable with the old model until everything "
        "is switched at once. An interrupted run\ncontinues. A running watch continues with the new model, including frames that came "
        "meanwhile; if it was\nstarted with --model, give it the new model the next time.\n\n"
        "example:\n  afterview reembed --memory ./cameras --model tiny --tokens int8",
    )  # fmt: skip
    add_memory(parser)
    parser.add_argument(
        "--camera", metavar="NAME", action="append", default=[], help="which camera (repeatable; default: all)"
    )
    parser.add_argument("--model", required=True, metavar=MODEL, help="model that makes the new features")
    add_index_encoder(parser)
    parser.add_argument(
        "--tokens", choices=["float16", "int8"], help="how the new tokens are stored (default: like the present ones)"
    )
    parser.add_argument("--keep-old", action="store_true", help="leave the old generation's features on the disk")
    parser.add_argument(
        "--again", action="store_true", help="rebuild the features even if they are already from this model"
    )


def _add_exchange(commands: Commands) -> None:
    for name, summary, more, what in (
        (
            "export",
            "write a span of a camera to one file",
            "Features, times, images and gaps, as safetensors: for another\nmachine, or for training. Without a span: everything.\n\n"
            "example:\n  afterview export hall.span --memory ./cameras --camera hall --from 14:00 --to 14:20",
            "the file to write",
        ),
        (
            "import",
            "append an exported span to a camera",
            "Ids are new; times, images, features and gaps are the exported ones.\n\n"
            "example:\n  afterview import hall.span --memory ./elsewhere",
            "a file that `export` wrote",
        ),
    ):
        parser = add_command(commands, name, summary, more, module="exchange")
        parser.add_argument("file", metavar="FILE", help=what)
        add_memory(parser, STORED if name == "export" else "the memory to append to")
        which = (
            "which camera (default: the only one)"
            if name == "export"
            else "camera to append to (default: the name in the file)"
        )
        parser.add_argument("--camera", metavar="NAME", help=which)
        if name == "export":
            _add_span(parser)
            add_force(parser)
