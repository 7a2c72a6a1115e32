"""Arguments of `afterview evaluate retrieval`. Loads only argparse."""

from afterview.cli.parsers.common import MODEL, Commands, add_json, add_verbosity
from afterview.cli.parsers.strict import strict


def add_evaluate_retrieval(actions: Commands) -> None:
    """The command."""
    text = "measure what the index finds: recall, R@1 at IoU and mAP, of questions and captions"
    parser = actions.add_parser(
        "retrieval", help=text, description=f"{text[0].upper()}{text[1:]}.\n\n"
        "Without --data, worlds of the given seeds are recorded as `evaluate world` does. Every question that one moment answers is a\n"
        "query. With --data, the published files of MomentSeeker, of both releases (docs/evaluation.md).\n\n"
        "  question     as it is\n"
        "  rule         as a caption that is made of its words alone, as `ask` does for models that want captions\n"
        "  caption      as a caption of the true moment, without the words of the answer\n\n"
        "  frame R@k    one of the k most similar frames shows what was asked about\n"
        "  clip R@k     one of the k best clips does; a clip's score is its best frame (max) or the mean of its four best (top-4)\n"
        "  R@1 IoU x    the moment around the best frame overlaps the true one by x\n"
        "  mAP          mean average precision of all clips\n\n"
        "example:\n  afterview evaluate retrieval --seeds 100..101 --frames 300",
    )  # fmt: skip
    strict(parser)
    parser.set_defaults(module="afterview.cli.commands.evaluate_retrieval")
    parser.add_argument(
        "--data", metavar="DIR", help="the downloaded files of MomentSeeker (default: synthetic worlds)"
    )
    parser.add_argument(
        "--seeds", default="100..109", metavar="A..B", help="worlds, both ends included (default: 100..109)"
    )
    parser.add_argument(
        "--frames", type=int, default=2000, help="length of every world, at 1 frame per second (default: 2000)"
    )
    parser.add_argument("--questions", type=int, default=40, metavar="N", help="questions per world (default: 40)")
    parser.add_argument(
        "--queries", default="question,rule,caption", metavar="WAY,...",
        help="how a world's question is asked: question, rule, caption (default: all)",
    )  # fmt: skip
    parser.add_argument("--clip", default="8s", metavar="DURATION", help="length of a world's clips (default: 8s)")
    parser.add_argument("--model", default="tiny", metavar=MODEL, help="model whose index is measured (default: tiny)")
    parser.add_argument(
        "--work",
        metavar="DIR",
        help="keep memories here, and reuse those that are there (default: a temporary directory)",
    )
    parser.add_argument(
        "--out", metavar="OUT", help="directory for the results; it can be resumed (default: they are only printed)"
    )
    add_json(parser)
    add_verbosity(parser)
