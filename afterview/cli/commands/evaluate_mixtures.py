"""`afterview evaluate mixtures`: trains and asks mixtures of short and long worlds, or shows how far they are."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afterview.cli.arguments import minutes_of, require_directory, results_file
from afterview.cli.output.documents import dump
from afterview.cli.progress import announced, progress
from afterview.configs import ExitStatus

if TYPE_CHECKING:
    from afterview.training.mixtures.plan import Mixtures


def run(arguments: argparse.Namespace) -> int:
    """Do what is not done, or list it."""
    require_directory("--work", arguments.work)
    work = Path(arguments.work)
    results, minutes = results_file(arguments.results, work, "mixtures.json"), minutes_of(arguments.limit)
    with announced("starting"):
        from afterview.training.mixtures.plan import SHIPPED, read_mixtures  # late: loads torch
    mixtures = read_mixtures(Path(arguments.config) if arguments.config else SHIPPED)
    if arguments.list:
        return _list(mixtures, work, as_json=arguments.json)
    from afterview.training.mixtures.queue import run_mixtures

    done = run_mixtures(mixtures, work, results, command=sys.argv, minutes=minutes, progress=progress)
    if arguments.json:
        dump({"done": done, "results": str(results), "mixtures": _states(mixtures, work)})
    elif done:
        print(results.with_suffix(".md").read_text(encoding="utf-8"))
    else:
        print("The time is over. The same command continues; --list shows what is done.")
    return ExitStatus.OK


def _list(mixtures: "Mixtures", work: Path, *, as_json: bool) -> int:
    found = _states(mixtures, work)
    if as_json:
        dump({"work": str(work), "mixtures": found})
        return ExitStatus.OK
    width = max(len(one["mixture"]) for one in found)
    for one in found:
        shown = f"{one['steps_done']} of {one['steps']} steps" if one["state"] == "begun" else one["state"]
        print(f"{one['mixture']:{width}}  {shown:20}  {one['label']}")
    return ExitStatus.OK


def _states(mixtures: "Mixtures", work: Path) -> list[dict[str, Any]]:
    from afterview.training.mixtures.queue import states

    steps = mixtures.recipe().study.trainer.length
    return [
        {
            "mixture": one.mixture.name, "label": one.mixture.label, "state": one.state, "steps_done": one.steps_done, "steps": steps,
        }
        for one in states(mixtures, work)
    ]  # fmt: skip
