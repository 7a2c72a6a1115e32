"""Arguments of the commands for worlds, evaluation and training. Loads only argparse."""

from afterview.cli.parsers.common import MODEL, Commands, add_command, add_force, add_json, add_memory, add_verbosity
from afterview.cli.parsers.evaluate import add_evaluate_command
from afterview.cli.parsers.strict import strict


def add_training_commands(commands: Commands) -> None:
    """world, evaluate, extract and train."""
    _add_world(commands)
    add_evaluate_command(commands)
    _add_extract(commands)
    _add_train(commands)


def _add_world(commands: Commands) -> None:
    parser = add_command(
        commands, "world", "make synthetic video with its truth",
        "Scripted scenes, objects, digits and words,\nthe same for the same seed, optionally with questions and answers. "
        "Options let objects change in view\nor be partly hidden, and several cameras share a story.", json=False,
    )  # fmt: skip
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    make = actions.add_parser(
        "make", help="write a world as a video file, its truth beside it as NAME.truth.json",
        description="Write a world as a video file, its truth beside it as NAME.truth.json.\n\n"
        "examples:\n  afterview world make story.mp4 --seed 7 --for 5m\n"
        "  afterview world make home.mp4 --cameras 3 --questions 10",
    )  # fmt: skip
    strict(make)
    make.add_argument("output", metavar="FILE", help="the video to write, for example story.mp4")
    make.add_argument("--seed", type=int, default=7, help="which world (default: 7)")
    make.add_argument(
        "--for", dest="seconds", default="10m", metavar="DURATION", help="length, 10s to 24h (default: 10m)"
    )
    make.add_argument("--size", default="640x360", metavar="WIDTHxHEIGHT", help="pixels (default: 640x360)")
    make.add_argument("--rate", type=int, default=10, help="frames per second (default: 10)")
    make.add_argument("--codec", default="libx264", choices=("libx264", "libx265"), help="default: libx264")
    make.add_argument(
        "--questions", type=int, default=0, metavar="N", help="also print N questions with their answers (default: 0)"
    )
    make.add_argument(
        "--choices", type=int, default=0, metavar="N", help="with N lettered answers each (default: open-ended)"
    )
    make.add_argument(
        "--kinds", metavar="KIND,...", help="only these kinds of questions (default: all that the story has)"
    )
    make.add_argument(
        "--annotations", metavar="FILE", help="also write the questions as LLaVA / VideoMarathon JSON, for `train`"
    )
    make.add_argument(
        "--changing",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of objects that change colour or size in view (default: 0)",
    )
    make.add_argument(
        "--hidden",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of objects that are partly hidden (default: 0)",
    )
    make.add_argument(
        "--cameras",
        type=int,
        default=1,
        metavar="N",
        help="cameras that share the story: one file each, STORY-gate.mp4 ... (default: 1)",
    )
    add_force(make)
    add_json(make)
    add_verbosity(make)


def _add_extract(commands: Commands) -> None:
    parser = add_command(
        commands, "extract", "cache features of videos and memories for training",
        "Ingests every SOURCE as `replay`\ndoes and keeps its features, one file per video, for a training configuration.\n"
        "A SOURCE that cannot be used does not end the others: it is named at the end, and the exit status is 1.\n\n"
        "examples:\n  afterview extract story.mp4 ./cameras --out features\n"
        "  afterview extract data/*/*.mp4 --root data --out features",
    )  # fmt: skip
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="a video file, a published file of features (.pt), or a memory: one video per camera",
    )
    add_memory(parser, "a memory, as a further SOURCE; without any SOURCE the one to extract", instead="sources")
    parser.add_argument("--out", required=True, metavar="DIR", help="directory for the files; existing ones are kept")
    parser.add_argument(
        "--model", default="tiny", metavar=MODEL, help="model whose vision tower is used (default: tiny)"
    )
    parser.add_argument(
        "--frames",
        action="store_true",
        help="keep frames instead of features, for a stage that trains the vision tower",
    )
    parser.add_argument(
        "--root",
        metavar="ROOT",
        help="name videos by their paths below ROOT, as annotations do (default: by their file names)",
    )
    parser.add_argument(
        "--damaged", choices=("keep", "refuse"), default="keep",
        help="keep: missing seconds of a damaged video keep their places, and the damage is recorded and named; refuse: it is a failure "
        "(default: keep)",
    )  # fmt: skip
    parser.add_argument(
        "--ray",
        type=int,
        default=0,
        help="divide the sources among N workers of Ray (default: one after another in this process)",
    )


def _add_train(commands: Commands) -> None:
    parser = add_command(
        commands, "train", "train a model",
        "CONFIG names model and data: see configs/training/. The result is a checkpoint\nin the published layout, "
        "which every other command accepts as --model.\n\non several devices:\n"
        "  accelerate launch --config_file configs/training/fsdp.yaml -m afterview train CONFIG --out DIR",
    )  # fmt: skip
    parser.add_argument("config", metavar="CONFIG", help="a training configuration (YAML)")
    parser.add_argument("--out", required=True, metavar="DIR", help="directory for checkpoints, the log and the model")
    parser.add_argument("--resume", action="store_true", help="resume from the last checkpoint in DIR")
    parser.add_argument("--cpu", action="store_true", help="train on the CPU even if there is a GPU")
