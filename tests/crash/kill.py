"""kill -9, again and again: `python -m tests.crash.kill --kills 200`. Prints a tally; exits 1 when a promise was broken.

Half of the kills hit a running `afterview watch` of a live test pattern at a random moment; the rest hit a writer at each named
failpoint in turn (append, seal, evict, forget, index save). After each, `tests.crash.promises` is checked, and the answer to one
fixed question as of one fixed time is compared with what it was. Then writers with an object store, five kills at each place of
`tests.crash.uploads`, and watches whose directory is moved or deleted (`tests.crash.moved`).
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from afterview.memory.base.failpoints import POINTS
from afterview.memory.base.feature_spec import Storage
from afterview.memory.directory import Memory
from tests.crash import writer
from tests.crash.answers import ASKED, FixedAnswer
from tests.crash.moved import move_watches
from tests.crash.promises import broken_promises, read_acks
from tests.crash.tally import Tally
from tests.crash.uploads import STORE_POINTS, kill_uploads
from tests.support.memory_world import START

PATIENCE_S = 60.0  # for a writer to get to its failpoint
ROUNDS_PER_MEMORY = 12  # kills before a fresh memory: each check reads all of it


def kill_at_failpoint(directory: Path, point: str, dice: random.Random, storage: Storage) -> bool:
    """Start a writer with one failpoint armed and wait for it to die there; False when it did not."""
    environment = {**os.environ, "AFTERVIEW_FAILPOINT": f"{point}:{dice.randint(1, 3)}"}
    command = [
        sys.executable,
        "-m",
        "tests.crash.writer",
        str(directory / "m"),
        str(directory / "acks"),
        str(directory / "log"),
        storage,
    ]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            return process.wait(PATIENCE_S) == -signal.SIGKILL
        finally:
            process.kill()


def kill_failpoints(tally: Tally, kills: int, dice: random.Random, say: Callable[[str], None]) -> None:
    """Every failpoint in turn, over and over, in memories of either storage of tokens."""
    from afterview.model.checkpoint.loading import load_pretrained

    model: Any = load_pretrained("tiny")
    directory = Path(tempfile.mkdtemp(prefix="afterview-kill-"))
    for number in range(kills):
        storage = tuple(writer.SPECS)[number // ROUNDS_PER_MEMORY % len(writer.SPECS)]
        if number % ROUNDS_PER_MEMORY == 0:
            shutil.rmtree(directory)
            directory.mkdir()
            spec, answer = model.encoders.feature_spec.stored_as(storage), FixedAnswer(model)
            writer.begin(directory / "m", directory / "acks", spec)
            answer.changed(directory / "m", START + ASKED)
        point = POINTS[number % len(POINTS)]
        if not kill_at_failpoint(directory, point, dice, storage):
            tally.broken.append(f"{point}: the writer never got there")
        tally.kills[point] += 1
        found = broken_promises(directory / "m", "a", directory / "acks", directory / "log", spec, keep_s=writer.KEEP_S)
        found += answer.changed(directory / "m", START + ASKED)
        tally.answers += 1
        tally.broken += [f"{point}: {what}" for what in found]
        tally.acknowledged += len(read_acks(directory / "acks"))
        if number % 10 == 9:
            say(f"{number + 1} failpoint kills, {len(tally.broken)} promises broken")
    shutil.rmtree(directory)


class WatchKills:
    """Kills of a running `afterview watch`, with one question that must keep its answer."""

    def __init__(self, directory: Path) -> None:
        self.memory, self.acks, self.log = directory / "m", directory / "acks", directory / "log"
        self._answer: FixedAnswer | None = None

    def kill_once(self, delay_s: float) -> None:
        """Start a watch, let it record for a while, kill it."""
        before = len(read_acks(self.acks))
        command = [
            sys.executable, "-m", "afterview", "watch", "lavfi:testsrc2=size=96x64:rate=25", "--memory", str(self.memory),
            "--camera", "a", "--fps", "25", "--ack-file", str(self.acks),
        ]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + PATIENCE_S
            while len(read_acks(self.acks)) == before and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.02)
            time.sleep(delay_s)
            process.kill()

    def broken(self) -> list[str]:
        """Check every promise, and the answer."""
        from afterview.model.checkpoint.loading import load_pretrained

        acks = read_acks(self.acks)
        if not acks:
            return ["the watch never acknowledged a frame"]
        spec = Memory(self.memory).camera("a").spec
        self._answer = self._answer or FixedAnswer(load_pretrained("tiny"))
        broken = broken_promises(self.memory, "a", self.acks, self.log, spec, fps=25.0)
        return [*broken, *self._answer.changed(self.memory, acks[len(acks) // 2].time)]


def kill_watches(tally: Tally, kills: int, dice: random.Random, say: Callable[[str], None]) -> None:
    """Random moments of a running watch."""
    directory = Path(tempfile.mkdtemp(prefix="afterview-watch-"))
    watch = WatchKills(directory)
    for number in range(kills):
        if number % ROUNDS_PER_MEMORY == 0:
            shutil.rmtree(directory)
            directory.mkdir()
            watch = WatchKills(directory)
        watch.kill_once(dice.uniform(0, 4))
        tally.kills["watch, random moment"] += 1
        tally.broken += [f"watch: {what}" for what in watch.broken()]
        tally.acknowledged += len(read_acks(watch.acks))
        tally.answers += 1
        say(f"{number + 1} watch kills, {len(tally.broken)} promises broken")
    shutil.rmtree(directory)


def main() -> int:
    """Run it all."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.kill", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--watches", type=int, help="how many of them hit a watch (default: half)")
    parser.add_argument("--uploads", type=int, default=5 * len(STORE_POINTS), help="kills of a writer with a store")
    parser.add_argument(
        "--moves", type=int, default=20, help="watches whose directory is moved or deleted (tests.crash.moved)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    watches = arguments.kills // 2 if arguments.watches is None else arguments.watches
    tally, dice = Tally(), random.Random(arguments.seed)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    kill_failpoints(tally, arguments.kills - watches, dice, say)
    kill_watches(tally, watches, dice, say)
    kill_uploads(tally, arguments.uploads, dice, say)
    move_watches(tally, arguments.moves, dice, say)
    if arguments.json:
        print(
            json.dumps(
                {
                    "kills": tally.kills,
                    "acknowledged": tally.acknowledged,
                    "answers": tally.answers,
                    "broken": tally.broken,
                }
            )
        )
    else:
        print("\n".join(tally.lines()))
    return 1 if tally.broken else 0


if __name__ == "__main__":
    sys.exit(main())
