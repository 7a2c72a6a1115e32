"""`afterview evaluate ablations`: the queue of ablations, or its state."""

import argparse
import fcntl
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from afterview.cli.arguments import minutes_of, names_in, require_directory, results_file
from afterview.cli.output.documents import dump
from afterview.cli.progress import announced, progress
from afterview.configs import ExitStatus

if TYPE_CHECKING:
    from afterview.training.ablations.plan import Ablations, RowPlan

LOG = "queue.log"


def run(arguments: argparse.Namespace) -> int:
    """Run the queue, start it in the background, or list it."""
    require_directory("--work", arguments.work)
    work = Path(arguments.work)
    results, minutes = results_file(arguments.results, work, "ablations.json"), minutes_of(arguments.limit)
    with announced("starting"):
        from afterview.training.ablations.plan import SHIPPED, read_ablations  # late: loads torch
    ablations = read_ablations(Path(arguments.config) if arguments.config else SHIPPED)
    rows = ablations.rows(names_in("--rows", arguments.rows))
    if arguments.list:
        return _list(ablations, work, results, rows, as_json=arguments.json)
    if arguments.background:
        return _in_background(work, as_json=arguments.json)
    from afterview.training.ablations.queue import run_queue

    done = run_queue(ablations, work, results, rows, command=sys.argv, minutes=minutes, progress=progress)
    if arguments.json:
        dump({"done": done, "results": str(results), "runs": _states(ablations, work, results, rows)})
    else:
        print(results.with_suffix(".md").read_text(encoding="utf-8"))
        if not done:
            print(f"The time is over. The same command continues; {results.with_suffix('.md')} has what is done.")
    return ExitStatus.OK


def _list(ablations: "Ablations", work: Path, results: Path, rows: "list[RowPlan]", *, as_json: bool) -> int:
    states = _states(ablations, work, results, rows)
    if as_json:
        dump({"work": str(work), "runs": states})
        return ExitStatus.OK
    width = max(len(one["row"]) for one in states)
    for one in states:
        shown = f"{one['steps_done']} of {one['steps']} steps" if one["state"] == "begun" else one["state"]
        print(f"{one['row']:{width}}  seed {one['seed']}  {shown:20}  {one['label']}")
    return ExitStatus.OK


def _states(ablations: "Ablations", work: Path, results: Path, rows: "list[RowPlan]") -> list[dict[str, Any]]:
    from afterview.training.ablations.queue import planned_runs

    return [
        {
            "row": run.row.name, "seed": run.seed, "state": run.state, "label": run.row.label, "group": run.row.group,
            "steps_done": run.steps_done, "steps": ablations.recipe(run.row).study.trainer.length,
        }
        for run in planned_runs(ablations, work, results, rows)
    ]  # fmt: skip


def _in_background(work: Path, *, as_json: bool) -> int:
    """The same command in a session of its own, so that it outlives the terminal."""
    work.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "afterview",
        *(part for part in sys.argv[1:] if part not in ("--background", "--json")),
    ]
    with _log_of_its_own(work) as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    if as_json:
        dump({"pid": process.pid, "log": log.name})
    else:
        print(f"started process {process.pid}; its log is {log.name}, and --list shows how far it is")
    return ExitStatus.OK


def _log_of_its_own(work: Path) -> IO[bytes]:
    """A log that no other process of the queue writes now. The lock on it ends with the process that inherits the file."""
    for number in count(1):
        log = (work / (LOG if number == 1 else f"queue-{number}.log")).open("ab")
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.close()
        else:
            return log
    raise AssertionError("there is always a free number")
