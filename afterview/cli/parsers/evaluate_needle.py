"""Arguments of `afterview evaluate needle`. Loads only argparse."""

from argparse import ArgumentParser

from afterview.cli.parsers.common import MODEL, Commands, add_json, add_verbosity
from afterview.cli.parsers.strict import strict


def add_evaluate_needle(actions: Commands) -> None:
    """A needle in a haystack of video: depth by length, and chains of clues."""
    parser = actions.add_parser(
        "needle", help="find single pictures, and chains of clues, in long videos",
        description="A picture is put into a long video at a depth, and asked about; or a chain of pictures with clues and decoys, evenly\n"
        "spaced (VideoChat-Flash, arXiv 2501.00574, section on needles). Background frames are encoded once and repeated.\n"
        "With --out a run that was stopped continues where it was, and more lengths, depths and ways can be added later.\n\n"
        "single   one picture: a heat map of depth by length\n"
        "multi    h pictures with a clue to the next one, the last picture, three decoys: the right caption (CAP), and both that\n"
        "         and a question about the last picture (QA)\n\n"
        "Pictures are those of the synthetic world, or with --data those of JSON files in the published format.\n\n"
        "examples:\n  afterview evaluate needle --out needles --frames 1000,10000 --items 5\n"
        "  afterview evaluate needle --model videochat-flash-7b --data needle_data --haystack film.mp4 --out needles",
    )  # fmt: skip
    strict(parser)
    parser.set_defaults(module="afterview.cli.commands.evaluate_needle")
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="for results, heat maps and encoded frames; a run continues there"
    )
    parser.add_argument("--model", default="tiny", metavar=MODEL, help="default: tiny")
    parser.add_argument("--task", default="single,multi", metavar="TASK,...", help="single, multi (default: both)")
    parser.add_argument(
        "--frames", metavar="N,...", help="lengths of the haystack (default: 1000,2000,... 10000 and 100000)"
    )
    parser.add_argument("--depths", metavar="X,...", help="of a single picture, 0 to 1 (default: 0,0.2,0.4,0.6,0.8,1)")
    parser.add_argument(
        "--recall", default="bounded", metavar="MODE,...",
        help="bounded (as the preset says), full (all frames), decayed (only visible frames), or a budget in frames, such as 64 "
        "(default: bounded)",
    )  # fmt: skip
    parser.add_argument(
        "--positions",
        metavar="POLICY,...",
        help="true, interpolate, rank: beyond the trained length (default: the preset's)",
    )
    parser.add_argument(
        "--dropout", metavar="SPEC",
        help="visual dropout in the decoder: off, or for example uniform0_attention:4=0.75,18=0.25 (default: the model's)",
    )  # fmt: skip
    _add_items(parser)
    add_json(parser)
    add_verbosity(parser)


def _add_items(parser: ArgumentParser) -> None:
    """Which pictures are asked about, how many, and how answers are scored."""
    parser.add_argument("--items", type=int, default=20, metavar="N", help="pictures of each cell (default: 20)")
    parser.add_argument(
        "--full-items",
        type=int,
        default=5,
        metavar="N",
        help="the same under full recall, which reads every frame (default: 5)",
    )
    parser.add_argument(
        "--full-frames",
        default="1000,5000,10000",
        metavar="N,...",
        help="only these lengths under full recall (default: 1000,5000,10000)",
    )
    parser.add_argument("--hops", default="1,2,3", metavar="N,...", help="of chains (default: 1,2,3)")
    parser.add_argument(
        "--multi-items",
        type=int,
        metavar="N",
        help="chains of each number of hops (default: 31, 28 and 41, as published)",
    )
    parser.add_argument(
        "--scoring", default="letter", choices=("letter", "options"),
        help="letter: the model answers with an option's letter; options: the likeliest of the options' texts, for models that do not know "
        "letters (default: letter)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="which pictures of the synthetic world (default: 0)")
    parser.add_argument(
        "--bank", type=int, default=1000, metavar="N", help="background frames, which are repeated (default: 1000)"
    )
    parser.add_argument("--data", metavar="DIR", help="items in the published format: JSON files and their images")
    parser.add_argument("--haystack", metavar="PATH", help="with --data: the long video, or a folder of pictures")
