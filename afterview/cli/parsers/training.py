"""Arguments of the commands for worlds, evaluation and training. Loads only argparse."""

from afterview.cli.parsers.common import MODEL, Commands, add_command, add_force, add_json, add_memory, add_verbosity
from afterview.cli.parsers.strict import strict


def add_training_commands(commands: Commands) -> None:
    """world, evaluate, extract and train."""
    _add_world(commands)
    _add_evaluate(commands)
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


def _add_evaluate(commands: Commands) -> None:
    parser = add_command(
        commands, "evaluate", "measure a model's answers against known truth, or what a question costs",
        "`evaluate world` asks about worlds that no model was trained on.\n`evaluate cost` computes tokens, FLOPs and bytes of both "
        "papers' recipes.", json=False,
    )  # fmt: skip
    actions = parser.add_subparsers(dest="benchmark", metavar="BENCHMARK", required=True)
    _add_evaluate_world(actions)
    _add_evaluate_cost(actions)


def _add_evaluate_cost(actions: Commands) -> None:
    text = "compute tokens, FLOPs and bytes of a question under both papers' recipes, without running them"
    parser = actions.add_parser(
        "cost", help=text, description=f"{text[0].upper()}{text[1:]}.\n\n"
        "counted     matrix products to the first token of the answer, as torch counts them\n"
        "by formula  4 P L + 6 d n L^2 of the decoder, as VideoChat-Flash's paper counts (about twice)\n"
        "published   Table 1 of that paper\n\nexample:\n  afterview evaluate cost --frames 600,3600",
    )  # fmt: skip
    strict(parser)
    parser.add_argument(
        "--frames",
        metavar="N,...",
        help="lengths of the video, at 1 frame per second (default: 64,256,1000,3600,10000)",
    )
    add_json(parser)
    add_verbosity(parser)


def _add_evaluate_world(actions: Commands) -> None:
    parser = actions.add_parser(
        "world", help="ask about synthetic worlds whose truth is known",
        description=
        "Worlds of the given seeds are rendered, encoded\nas H.264, ingested like any recording, and asked about. Accuracies come with "
        "95 % intervals (Wilson), chance and majority.\n\n"
        "--world plain     one camera; objects, digits and words in front of scenes, as in the training of the built-in model\n"
        "--world changing  one camera; objects that change colour or size in view or are partly hidden: what changed, what hid\n"
        "                  what, and summaries. --kinds may also name kinds of plain worlds\n"
        "--world cameras   three cameras that share a story: which saw a thing, which saw it first, where it went next. Each\n"
        "                  camera answers separately: an answer other than 'not seen' counts as 'seen'. The times of their\n"
        "                  evidence give first and next. A question about one camera is judged by its own answer\n\n"
        "example:\n  afterview evaluate world --seeds 100..101 --frames 300 --questions 10",
    )  # fmt: skip
    strict(parser)
    parser.add_argument(
        "--seeds", default="100..119", metavar="A..B", help="worlds, both ends included (default: 100..119)"
    )
    parser.add_argument(
        "--world",
        default="plain",
        choices=("plain", "changing", "cameras"),
        help="type of world, see above (default: plain)",
    )
    parser.add_argument(
        "--frames", type=int, default=2000, help="length of every video, at 1 frame per second (default: 2000)"
    )
    parser.add_argument("--questions", type=int, default=30, metavar="N", help="questions per world (default: 30)")
    parser.add_argument(
        "--kinds", metavar="KIND,...", help="only these kinds of questions (default: those of the world)"
    )
    parser.add_argument(
        "--recall", default="bounded", metavar="MODE,...",
        help="bounded (as the preset says), full, or decayed (only visible frames) (default: bounded)",
    )  # fmt: skip
    parser.add_argument(
        "--pairs", default="seen", choices=("seen", "held-out", "all"), help="colour-shape pairs (default: seen)"
    )
    parser.add_argument("--held-out-wordings", action="store_true", help="wordings that training never used")
    parser.add_argument("--reworded", action="store_true", help="questions with synonyms: color, displayed, large")
    parser.add_argument(
        "--choices",
        type=int,
        default=0,
        metavar="N",
        help="ask as multiple choice with N lettered answers (default: open-ended)",
    )
    parser.add_argument("--model", default="tiny", metavar=MODEL, help="default: tiny")
    parser.add_argument(
        "--work",
        metavar="DIR",
        help="keep memories here, and reuse those that are there already (default: a temporary directory)",
    )
    add_json(parser)
    add_verbosity(parser)


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
