"""Arguments of `afterview evaluate mixtures`. Loads only argparse."""

from afterview.cli.parsers.common import Commands, add_json, add_results_and_limit, add_verbosity
from afterview.cli.parsers.strict import strict


def add_evaluate_mixtures(actions: Commands) -> None:
    """The command."""
    text = "train the small model on mixtures of short and long worlds, and ask each about the same new worlds"
    parser = actions.add_parser(
        "mixtures", help=text, description=f"{text[0].upper()}{text[1:]}.\n\n"
        "Makes worlds, their questions (by the pipeline of `afterview marathon run`) and their features, then trains and asks\n"
        "each mixture of configs/training/mixtures.yaml: some 30 minutes of one core each, and some minutes for its questions.\n"
        "It may be stopped or killed at any moment: the same command continues. It writes the results, with a table beside the\n"
        "paper's finding.\n\n"
        "examples:\n  afterview evaluate mixtures --work mixtures-output --list\n"
        "  nice -n 5 afterview evaluate mixtures --work mixtures-output",
    )  # fmt: skip
    strict(parser)
    parser.set_defaults(module="afterview.cli.commands.evaluate_mixtures")
    parser.add_argument(
        "--work",
        required=True,
        metavar="DIR",
        help="directory of all that is made: worlds, questions, features, runs (1 GB)",
    )
    parser.add_argument(
        "--config", metavar="FILE", help="other worlds, steps or mixtures (default: configs/training/mixtures.yaml)"
    )
    add_results_and_limit(parser, "mixtures")
    parser.add_argument("--list", action="store_true", help="show the mixtures, how far each is, and run nothing")
    add_json(parser)
    add_verbosity(parser)
