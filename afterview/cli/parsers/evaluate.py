"""Arguments of `afterview evaluate`: worlds, costs, public benchmarks. Loads only argparse."""

import argparse

from afterview.cli.parsers.common import MODEL, Commands, add_command, add_json, add_verbosity
from afterview.cli.parsers.evaluate_ablations import add_evaluate_ablations
from afterview.cli.parsers.evaluate_mixtures import add_evaluate_mixtures
from afterview.cli.parsers.evaluate_needle import add_evaluate_needle
from afterview.cli.parsers.evaluate_retrieval import add_evaluate_retrieval
from afterview.cli.parsers.evaluate_worker import add_evaluate_worker
from afterview.cli.parsers.strict import strict


def add_evaluate_command(commands: Commands) -> None:
    """evaluate, with its actions."""
    parser = add_command(
        commands, "evaluate", "measure a model: synthetic worlds, public benchmarks, what a question costs",
        "`evaluate world` asks about worlds that no model was trained on,\n`evaluate run` about the videos of a public benchmark. "
        "`evaluate needle` looks for pictures in long videos. "
        "`evaluate list` shows the benchmarks and where their files are from,\n`evaluate compare` compares two runs item by item. "
        "`evaluate cost` computes tokens, FLOPs and bytes of both papers' recipes,\n`evaluate ablations` trains the small model again with "
        "one part changed at a time, `evaluate mixtures` trains it on "
        "mixtures of\nshort and long worlds, and `evaluate retrieval` measures what the index finds.", json=False,
    )  # fmt: skip
    actions = parser.add_subparsers(dest="benchmark", metavar="ACTION", required=True)
    _add_world(actions)
    _add_list(actions)
    _add_run(actions)
    _add_compare(actions)
    _add_cost(actions)
    add_evaluate_needle(actions)
    add_evaluate_ablations(actions)
    add_evaluate_mixtures(actions)
    add_evaluate_retrieval(actions)
    add_evaluate_worker(actions)


def _add_action(
    actions: Commands, name: str, summary: str, description: str, *, module: str = ""
) -> argparse.ArgumentParser:
    """An action that a module of afterview.cli.commands of its own runs; by default evaluate_NAME."""
    parser = actions.add_parser(name, help=summary, description=description)
    strict(parser)
    parser.set_defaults(module=f"afterview.cli.commands.{module or f'evaluate_{name}'}")
    return parser


def _add_list(actions: Commands) -> None:
    text = "list the benchmarks that can be run, what each needs, and those that cannot be run"
    parser = _add_action(
        actions, "list", text, f"{text[0].upper()}{text[1:]}.\n\nexample:\n  afterview evaluate list --json",
        module="evaluate_benchmarks",
    )  # fmt: skip
    add_json(parser)
    add_verbosity(parser)


def _add_run(actions: Commands) -> None:
    parser = _add_action(
        actions, "run", "ask the questions of a public benchmark about its videos",
        "Reads the published files of a benchmark, which you have downloaded to DIR,\nrecords each video into a memory (once: later runs "
        "use it again), asks every question with the published prompt, and\nkeeps each answer in OUT before the next is asked. The same "
        "command resumes a run that was ended in any way.\n\n"
        "  strict      an answer counts if it clearly names the right option and no other\n"
        "  official    as the benchmark's own harness counts\n\n"
        "examples:\n  afterview evaluate run video-mme --data ./Video-MME --check\n"
        "  afterview evaluate run video-mme --data ./Video-MME --model hour-llava-3b --out ./results\n"
        "  accelerate launch --num_processes 8 -m afterview evaluate run ...   (several GPUs share the videos)",
        module="evaluate_benchmarks",
    )  # fmt: skip
    parser.add_argument("name", metavar="NAME", help="a benchmark; `afterview evaluate list` shows them")
    parser.add_argument("--data", required=True, metavar="DIR", help="the downloaded files")
    parser.add_argument(
        "--check",
        action="store_true",
        help="only list what is missing or odd in DIR; exit status 1 if anything is missing or nothing can be asked",
    )
    parser.add_argument("--model", metavar=MODEL, help="the model to measure (needed without --check)")
    parser.add_argument("--out", metavar="OUT", help="directory for the results (needed without --check)")
    parser.add_argument("--work", metavar="DIR", help="keep the videos' memories here (default: OUT/memories)")
    parser.add_argument(
        "--discard", action="store_true", help="remove a video's memory once its questions are answered"
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help="ask about the videos that are there, though others are missing (default: refuse)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="ask about N items only, evenly spread (default: all)")
    parser.add_argument("--split", default="", metavar="NAME", help="only this set of the benchmark (default: all)")
    parser.add_argument("--subtitles", action="store_true", help="give the model the video's subtitles, too")
    parser.add_argument(
        "--score", default="letter", choices=("letter", "likelihood"),
        help="letter: by the text of the answer; likelihood: the likeliest of the options' letters (default: letter)",
    )  # fmt: skip
    parser.add_argument(
        "--max-tokens", type=int, metavar="N", help="longest answer (default: as the benchmark or the model says)"
    )
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown alone, for a model card")
    add_json(parser)
    add_verbosity(parser)


def _add_compare(actions: Commands) -> None:
    parser = _add_action(
        actions, "compare", "compare two runs of one benchmark, item by item",
        "Pairs the items that both runs answered. Differences are B - A, with a 95 % interval\n(Newcombe's for right and wrong, with the "
        "probability by McNemar's exact test; a bootstrap over items for other\nscores). Items that only one run has count nowhere and "
        "are named.\n\n"
        "example:\n  afterview evaluate compare ./results-a ./results-b",
        module="evaluate_benchmarks",
    )  # fmt: skip
    parser.add_argument("first", metavar="A", help="directory that was given as --out")
    parser.add_argument("second", metavar="B", help="another one")
    add_json(parser)
    add_verbosity(parser)


def _add_cost(actions: Commands) -> None:
    text = "compute tokens, FLOPs and bytes of a question under both papers' recipes, without running them"
    parser = _add_action(
        actions, "cost", text, f"{text[0].upper()}{text[1:]}.\n\n"
        "  TFLOP       matrix products to the first token of the answer, as torch counts them\n"
        "  by formula  4 P L + 6 d n L^2 of the decoder, as VideoChat-Flash's paper counts (about twice)\n"
        "  published   Table 1 of that paper\n\nexample:\n  afterview evaluate cost --frames 600,3600",
    )  # fmt: skip
    parser.add_argument(
        "--frames",
        metavar="N,...",
        help="lengths of the video, at 1 frame per second (default: 64,256,1000,3600,10000)",
    )
    add_json(parser)
    add_verbosity(parser)


def _add_world(actions: Commands) -> None:
    parser = _add_action(
        actions, "world", "ask about synthetic worlds whose truth is known",
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
        help="bounded (as the preset says), full (all frames), decayed (only visible frames), or a budget in frames, such as 64 "
        "(default: bounded)",
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
