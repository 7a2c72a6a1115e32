"""Arguments of `afterview evaluate worker`. Loads only argparse."""

from afterview.cli.parsers.common import MODEL, Commands, add_verbosity
from afterview.cli.parsers.strict import strict


def add_evaluate_worker(actions: Commands) -> None:
    """The command."""
    text = "answer a harness in another environment, one JSON object a line"
    parser = actions.add_parser(
        "worker", help=text, description=f"{text[0].upper()}{text[1:]}.\n\n"
        "adapters/lmms_eval starts it for lmms-eval. Requests come on standard input and answers go to standard output; the module\n"
        "training/evaluation/worker.py has them. It ends with its input.\n\n"
        "example:\n  afterview evaluate worker --work memories < requests.jsonl",
    )  # fmt: skip
    strict(parser)
    parser.set_defaults(module="afterview.cli.commands.evaluate_worker")
    parser.add_argument("--model", default="tiny", metavar=MODEL, help="default: tiny")
    parser.add_argument(
        "--work", required=True, metavar="DIR", help="keep the videos' memories here, and reuse those that are there"
    )
    add_verbosity(parser)
