"""Arguments of `afterview chat`. Loads only argparse."""

from afterview.cli.parsers.common import Commands, add_command, add_question
from afterview.cli.parsers.generation import add_generation
from afterview.cli.parsers.own_model import add_own_model


def add_chat_command(commands: Commands) -> None:
    """chat."""
    parser = add_command(
        commands, "chat", "ask question after question; the model is loaded once",
        "Each line is a question. It is asked about the same\ncameras and the same span as the one before, unless it names others: "
        '"hall: Did you see a red ring?". /help lists the commands\namong the lines, such as /at and /camera. Ctrl-C cancels an answer, a '
        "second one ends; so does Ctrl-D. Where the input is no terminal,\neach question gets one line, with --json one document; "
        "the exit status is then 1 if a question failed.\n\n"
        "examples:\n  afterview chat --memory ./cameras\n  afterview chat --memory ./cameras --camera hall --last 2h\n"
        "  afterview chat --memory ./cameras --json",
    )  # fmt: skip
    add_question(parser, "ask", at="answer as of this time: ignore all later frames")
    parser.add_argument(
        "--evidence", type=int, default=3, metavar="N", help="maximum number of evidence frames per camera (default: 3)"
    )
    add_own_model(parser)
    add_generation(parser)
