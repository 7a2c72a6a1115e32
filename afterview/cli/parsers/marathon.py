"""Arguments of `afterview marathon`. Loads only argparse."""

import argparse

from afterview.cli.parsers.common import Commands, add_command, add_json, add_verbosity
from afterview.cli.parsers.strict import strict

_CONFIG = "a configuration (YAML), such as configs/marathon/openai.yaml"


def add_marathon_command(commands: Commands) -> None:
    """marathon run, plan, stages, show and measure."""
    parser = add_command(
        commands, "marathon", "make training data from recordings: captions, questions, checks",
        "Turns a folder of videos\n"
        "into instructions in VideoMarathon's format, which `train` takes as they are. Works in stages that can be run, resumed\n"
        "and inspected one by one. The models that caption and write are servers of your own, named in CONFIG.",
        json=False,
    )  # fmt: skip
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_run(actions)
    _add_plan(actions)
    _add_stages(actions)
    _add_show(actions)
    _add_measure(actions)


def _add(actions: Commands, name: str, summary: str, more: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}. {more}")
    strict(parser)
    return parser


def _end(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    add_verbosity(parser)


def _add_run(actions: Commands) -> None:
    parser = _add(
        actions, "run", "run the stages that are not done",
        "It can be interrupted at any moment; the same command\ncontinues. Every answer of a model is kept in DIR and asked for once.\n\n"
        "example:\n  afterview marathon run configs/marathon/world.yaml --videos worlds --out marathon",
    )  # fmt: skip
    parser.add_argument("config", metavar="CONFIG", help=_CONFIG)
    parser.add_argument(
        "--videos", required=True, metavar="DIR", help="directory with videos, also in folders below it"
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="directory for the stages, the answers and the data set"
    )
    parser.add_argument("--until", metavar="STAGE", help="stop after this stage (default: to the end)")
    parser.add_argument("--redo", metavar="STAGE", help="make this stage and those after it anew")
    parser.add_argument(
        "--ray", type=int, default=0, metavar="N", help="divide the work among N workers of Ray (default: threads of this process)"
    )  # fmt: skip
    _end(parser)


def _add_plan(actions: Commands) -> None:
    parser = _add(
        actions, "plan", "estimate what a run will ask and store, without running it",
        "Requests, tokens and bytes by stage, by formula.\n\n"
        "examples:\n  afterview marathon plan configs/marathon/openai.yaml --videos recordings\n"
        "  afterview marathon plan configs/marathon/openai.yaml --assume 1000x20m",
    )  # fmt: skip
    parser.add_argument("config", metavar="CONFIG", help=_CONFIG)
    parser.add_argument("--videos", metavar="DIR", help="directory with videos; their lengths are read")
    parser.add_argument(
        "--assume", metavar="NxDURATION", help="instead of --videos: so many videos of this length, e.g. 1000x20m"
    )
    _end(parser)


def _add_stages(actions: Commands) -> None:
    parser = _add(
        actions,
        "stages",
        "show what is done, and how many rows each stage has",
        "\n\nexample:\n  afterview marathon stages marathon",
    )
    parser.add_argument("out", metavar="DIR", help="directory of a run")
    _end(parser)


def _add_show(actions: Commands) -> None:
    parser = _add(
        actions, "show", "show the rows of a stage, or statistics of the whole",
        "Statistics are those of the paper's Figure 1 and\nTable 1, with the paper's numbers beside them.\n\n"
        "examples:\n  afterview marathon show marathon\n  afterview marathon show marathon --stage checks --rejected --limit 5",
    )  # fmt: skip
    parser.add_argument("out", metavar="DIR", help="directory of a run")
    parser.add_argument("--stage", metavar="STAGE", help="show rows of this stage (default: statistics)")
    parser.add_argument("--video", metavar="NAME", help="only rows of this video")
    parser.add_argument("--rejected", action="store_true", help="of checks: only rejected questions")
    parser.add_argument("--limit", type=int, default=20, help="most rows (default: 20)")
    _end(parser)


def _add_measure(actions: Commands) -> None:
    parser = _add(
        actions, "measure", "measure what the checks catch, on synthetic video whose truth is known",
        "A captioner that drops,\nswaps and invents things at known rates captions the videos of `afterview world make`; the truth says "
        "which questions are\nwrong. DIR gets measured.json and measured.md.\n\n"
        "example:\n  afterview marathon measure --videos worlds --out measured --rates 0.05,0.1",
    )  # fmt: skip
    parser.add_argument("--videos", required=True, metavar="DIR", help="synthetic videos with their truth beside them")
    parser.add_argument("--out", required=True, metavar="DIR", help="directory for a run of each kind and rate")
    parser.add_argument(
        "--rates", default="0.05,0.1,0.2", metavar="RATE,...", help="rates of mistakes (default: 0.05,0.1,0.2)"
    )
    parser.add_argument("--looks", type=int, default=3, help="further captioners, 0 to 4 (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="seed of questions and mistakes (default: 0)")
    _end(parser)
