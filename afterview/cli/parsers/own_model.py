"""Options of `ask` and `chat` for a model server of the user's own. Loads only argparse."""

import argparse


def add_own_model(parser: argparse.ArgumentParser) -> None:
    """Add --answer-with and what belongs to it."""
    group = parser.add_argument_group(
        "a model of your own",
        "A server that speaks OpenAI's protocol, and whose model sees pictures, answers from frames that the memory\nfinds. These "
        "frames leave this machine. Its key is in AFTERVIEW_ANSWER_KEY(_FILE). A service is not asked then.",
    )
    group.add_argument("--answer-with", metavar="URL", help="its address, for example http://127.0.0.1:11434/v1")
    group.add_argument("--answer-model", metavar="NAME", help="its model (default: the only one that it has)")
    group.add_argument(
        "--answer-frames", type=int, metavar="N", help="frames of a camera that are sent, at most (default: 8)"
    )
    group.add_argument(
        "--answer-image-size", type=int, metavar="N", help="short side of the pictures that are sent, pixels (default: 512)"
    )  # fmt: skip
    group.add_argument(
        "--answer-timeout", type=float, metavar="N", help="seconds that the answer of a camera may take (default: 180)"
    )
    parser._action_groups.sort(key=lambda one: one.title == "output")  # what every command has comes last
