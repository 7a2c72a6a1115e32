"""Arguments of `afterview evaluate ablations`. Loads only argparse."""

from afterview.cli.parsers.common import Commands, add_json, add_results_and_limit, add_verbosity
from afterview.cli.parsers.strict import strict


def add_evaluate_ablations(actions: Commands) -> None:
    """The command."""
    text = "train the small model again with one part changed at a time, and ask each about the same worlds"
    parser = actions.add_parser(
        "ablations", help=text, description=f"{text[0].upper()}{text[1:]}.\n\n"
        "Each row of configs/training/ablations.yaml starts from the same weights and takes the same steps: four to ninety minutes of\n"
        "one core, ten for most, and some minutes for its questions. A queue makes one run after another. It may be stopped or killed at\n"
        "any moment: the same command continues. Given again beside the first, it shares the runs with it: one process per core\n"
        "(OMP_NUM_THREADS=1) is fastest, with 3 GB of memory each (7 GB for the row of all cells). After each run it writes the results,\n"
        "with a table beside the paper's. Runs that the results hold already are not made again, not even with a new --work.\n\n"
        "examples:\n  afterview evaluate ablations --work ablations-output --list\n"
        "  afterview evaluate ablations --work ablations-output --rows memaug,no-memaug\n"
        "  OMP_NUM_THREADS=1 nice -n 19 afterview evaluate ablations --work ablations-output --background",
    )  # fmt: skip
    strict(parser)
    parser.set_defaults(module="afterview.cli.commands.evaluate_ablations")
    parser.add_argument(
        "--work", required=True, metavar="DIR",
        help="directory of the queue: features, runs and memories (1.5 GB)",
    )  # fmt: skip
    parser.add_argument("--rows", metavar="NAME,...", help="only these rows (default: all)")
    parser.add_argument(
        "--config", metavar="FILE", help="other rows or steps (default: configs/training/ablations.yaml)"
    )
    add_results_and_limit(parser, "ablations")
    parser.add_argument("--list", action="store_true", help="show rows and runs, how far each is, and run nothing")
    parser.add_argument(
        "--background",
        action="store_true",
        help="run on after this command ends; its log is WORK/queue.log, or queue-2.log beside a first",
    )
    add_json(parser)
    add_verbosity(parser)
