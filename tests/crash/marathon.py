"""`python -m tests.crash.marathon WORLDS OUT [--ray N] [--kills K]`: the whole of `marathon run`, killed again and again.

WORLDS holds synthetic videos with their truth. A server that speaks OpenAI's protocol answers from the truth, and misbehaves: busy and
failing, with cut, malformed and broken answers. The run is a process of its own (with Ray: with workers). SIGKILL ends it at random times,
K times; then it runs to its end. OUT/report.json has what came of it. The exit status is 1 where something does not hold:

same rows       every row equals that of an undisturbed run with exact models in this process
asked again     answers that were given twice: at most as many as requests were on their way at a kill
right           share of the kept questions that the truth bears out
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from afterview.training.marathon.rows import Checked
from afterview.training.marathon.run import run
from afterview.training.marathon.stages.files import DataSet
from afterview.training.marathon.worlds.exact import Truths
from afterview.training.marathon.worlds.judge import judge
from tests.support.marathon_server import by_label, marathon_server

AT_ONCE = 8  # requests of each worker
KILL_WITHIN_S = (5.0, 40.0)
_PROGRAM = "import sys; from afterview.cli.main import main; sys.exit(main(sys.argv[1:]))"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.marathon", description=__doc__)
    parser.add_argument("worlds", type=Path, help="synthetic videos with their truth")
    parser.add_argument("out", type=Path, help="directory for both runs and the report")
    parser.add_argument("--ray", type=int, default=0, help="workers of Ray (default: threads)")
    parser.add_argument("--kills", type=int, default=5, help="how often the run is killed (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="of the times of the kills (default: 0)")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    report = attack(given.worlds, given.out, workers=given.ray, kills=given.kills, seed=given.seed)
    (given.out / "report.json").write_text(json.dumps(report, indent=1))
    print(json.dumps(report, indent=1))
    return 0 if report["holds"] else 1


def attack(worlds: Path, out: Path, *, workers: int, kills: int, seed: int) -> dict[str, Any]:
    """Run, kill, run to the end, compare."""
    dice, began, statuses = random.Random(seed), time.monotonic(), list[int]()
    with marathon_server(worlds, mischief=by_label) as server:
        config = out / "run.json"
        endpoint = {
            "kind": "openai", "url": server.url, "model": "truth", "label_requests": True, "timeout_s": 30.0, "at_once": AT_ONCE,
        }  # fmt: skip
        config.write_text(json.dumps(_settings(endpoint)))
        command = [
            "marathon",
            "run",
            str(config),
            "--videos",
            str(worlds),
            "--out",
            str(out / "killed"),
            "--ray",
            str(workers),
            "-q",
        ]
        while True:
            process = subprocess.Popen([sys.executable, "-c", _PROGRAM, *command], stdout=subprocess.DEVNULL)
            try:
                wait_s = dice.uniform(*KILL_WITHIN_S) if len(statuses) < kills else None
                statuses.append(process.wait(wait_s))
                if statuses[-1] != -signal.SIGKILL:
                    break
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                statuses.append(process.wait())
        again = sum(count - 1 for count in server.answered.values())
        happened, answers = dict(server.happened), sum(server.answered.values())
    plain = out / "plain.json"
    plain.write_text(json.dumps(_settings({"kind": "world"})))
    run(plain, worlds, out / "exact")
    return _report(worlds, out, statuses, happened, answers, again, max(1, workers) * AT_ONCE, time.monotonic() - began)


def _settings(model: dict[str, Any]) -> dict[str, Any]:
    models = {"captioner": model, "writer": model, "looks": [model, model, model], "blind": model}
    return {"clips": {"frames": 2, "image_size": 64}, "models": models, "videos_per_file": 2}


def _report(
    worlds: Path, out: Path, statuses: list[int], happened: dict[str, int], answers: int, again: int, at_once: int, seconds: float
) -> dict[str, Any]:  # fmt: skip
    data, truths = DataSet(out / "killed"), Truths(worlds)
    kept = [row for row in data.rows("checks") if isinstance(row, Checked) and row.kept]
    right = sum(judge(row, truths.story(row.video)).right for row in kept)
    killed = sum(status == -signal.SIGKILL for status in statuses)
    files = {
        name: {str(path.relative_to(out / name)): path for path in (out / name).glob("[0-9]*/*.jsonl")}
        for name in ("killed", "exact")
    }
    same = files["killed"].keys() == files["exact"].keys() and all(
        path.read_bytes() == files["killed"][name].read_bytes() for name, path in files["exact"].items()
    )
    lines = sum(1 for row in data.rows("checks") if isinstance(row, Checked))
    return {
        "holds": same and again <= killed * at_once and right >= 0.99 * len(kept) and statuses[-1] == 0, "same rows": same,
        "kills": killed, "last status": statuses[-1], "answers": answers, "asked again": again, "most allowed": killed * at_once,
        "mischief": {name or "none": count for name, count in happened.items()}, "videos": len({row.video for row in kept}),
        "questions": lines, "kept": len(kept), "right": right, "tasks": len({row.task for row in kept}), "seconds": round(seconds),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
