"""Directories that are moved, replaced or deleted while they are recorded: `python -m tests.crash.moved`.

First made-up writers: each kind of move before every step of a session that reaches the disk. Then `afterview watch`, moved or deleted
at random moments, with a second watch in its place. Checked after each: what took the place is untouched; every acknowledged frame is
in the directory that was moved; nothing was acknowledged, or made again, after a deletion; the writer says what happened, and exits 1.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from afterview.memory.base.durable import observed
from afterview.memory.base.errors import CameraMoved
from afterview.memory.directory import Memory
from afterview.memory.index.frame_index import FrameIndex
from afterview.memory.plans.retention import Limits
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.repository import Repository
from tests.crash.promises import Acked, broken_promises, read_acks
from tests.crash.tally import Tally
from tests.crash.writer import SPECS, Log, small_segments
from tests.support.memory_world import START, make_frame

SPEC = SPECS["float16"]
BEFORE = 120  # frames that a session finds; 8 more complete its second seal
OTHERS = 70  # frames of the camera that takes the place
KEEP_S = 20.0
_ANOTHER = 1_000_000  # where the numbers of its frames begin, so that no content is equal
PATIENCE_S = 60.0  # for a watch to start
END_S = 10.0  # for a watch to notice

Kind = Literal[
    "camera replaced", "memory replaced", "second writer", "camera deleted", "memory deleted", "half deleted"
]
KINDS: tuple[Kind, ...] = get_args(Kind)
WatchKind = Literal["moved", "deleted"]


def append(repository: Repository, count: int, *, base: int = 0) -> None:
    """Append made-up frames."""
    for number in range(repository.frames, repository.frames + count):
        repository.append(make_frame(base + number, repository.spec, time=START + number))


def record(memory: Path, count: int, acks: Path, *, base: int = 0) -> Path:
    """Record so many frames into camera `a`, and acknowledge them; returns the memory."""
    with open_camera(memory, "a", SPEC) as repository:
        append(repository, count, base=base)
        _acknowledge(repository, Log(acks))
    return memory


def _acknowledge(repository: Repository, acks: Log) -> None:
    acks.write(*(f"{ack.frame} {ack.time!r} {ack.crc:08x}" for ack in repository.sync()))


def session(memory: Path, acks: Log, log: Log) -> None:
    """What a writer does: append, seal, index, forget, downsample, evict, end. Raises what the writer raises."""
    with open_camera(memory, "a", SPEC) as repository:
        append(repository, 3)
        _acknowledge(repository, acks)
        append(repository, 6)
        _acknowledge(repository, acks)  # seals
        FrameIndex(repository.directory / "index").catch_up(CameraReader(repository.directory).snapshot())
        log.write(f"forget {START + 3} {START + 9}")
        repository.forget(START + 3, START + 9)
        log.write(f"forgotten {START + 3} {START + 9}")
        repository.downsample(10.0, ())
        log.write("evict")
        repository.enforce(Limits(KEEP_S, None))
        append(repository, 2)
        _acknowledge(repository, acks)


@dataclass
class Prepared:
    """What the sessions copy: the memory that they find, and the one that takes its place."""

    root: Path
    steps: int = 0

    def __post_init__(self) -> None:
        record(self.root / "begun" / "m", BEFORE, self.root / "begun" / "acks")
        record(self.root / "other" / "m", OTHERS, self.root / "other" / "acks", base=_ANOTHER)
        run = Run(self, "camera replaced", 0)
        if (found := run.broken()) != ["nothing happened"]:
            raise AssertionError(found)
        self.steps = run.steps


@dataclass
class Run:
    """One session in a directory of its own; before step `at` something happens to it. `broken` runs it."""

    prepared: Prepared
    kind: Kind
    at: int
    steps: int = 0
    happened: bool = False
    error: Exception | None = None
    _promised: list[Acked] = field(default_factory=list)  # when it happened
    _there: dict[str, bytes] = field(default_factory=dict)  # what was put in its place

    def broken(self) -> list[str]:
        """Run it; every promise that does not hold."""
        self.directory = Path(tempfile.mkdtemp(prefix="run-", dir=self.prepared.root))
        self.memory, self.away = self.directory / "m", self.directory / "away"
        shutil.copytree(self.prepared.root / "begun", self.directory, dirs_exist_ok=True)
        try:
            with observed(self._step):
                try:
                    session(self.memory, Log(self.directory / "acks"), Log(self.directory / "log"))
                except Exception as error:
                    self.error = error
            return self._check()
        finally:
            shutil.rmtree(self.directory)

    def _step(self, *step: object) -> None:
        self.steps += 1
        if self.steps == self.at:
            with observed(lambda *step: None):  # what another writer does is no step of this one
                self._happen()

    def _happen(self) -> None:
        self.happened, camera = True, self.memory / "a"
        if self.kind == "memory replaced":
            self.memory.rename(self.away)
            shutil.copytree(self.prepared.root / "other" / "m", self.memory)
        elif self.kind in ("camera replaced", "second writer"):
            self.away.mkdir()
            camera.rename(self.away / "a")
            if self.kind == "camera replaced":
                shutil.copytree(self.prepared.root / "other" / "m" / "a", camera)
            else:
                record(self.memory, OTHERS, self.directory / "acks-2", base=_ANOTHER)
        elif self.kind == "half deleted":  # `rm -r` takes the files one by one
            (camera / "journal").unlink()
        else:
            _delete(camera if self.kind == "camera deleted" else self.memory)
        self._promised, self._there = read_acks(self.directory / "acks"), _content(self.memory)

    def _check(self) -> list[str]:
        if not self.happened:
            return [
                "nothing happened",
                *([] if self.error is None else [repr(self.error)]),
                *self._promises(self.memory),
            ]
        if (
            self.kind == "half deleted" and self.error is None
        ):  # the journal was replaced by a whole one before anyone looked
            return self._promises(self.memory)
        if not isinstance(self.error, CameraMoved):
            return [f"the writer ended with {self.error!r}"]
        if "deleted" not in self.kind:
            where = self.away if self.kind == "memory replaced" else self.away / "a"
            found = [] if f"was moved to {where}" in str(self.error) else [f"the error is: {self.error}"]
            changed = [] if _content(self.memory) == self._there else ["what took its place was changed"]
            second = self._promises(self.memory, "acks-2") if self.kind == "second writer" else []
            return [*found, *changed, *self._promises(self.away), *second]
        found = [] if "was deleted" in str(self.error) else [f"the error is: {self.error}"]
        if read_acks(self.directory / "acks") != self._promised:
            found.append("acknowledged after the deletion")
        if self.kind != "half deleted" and (self.memory / "a").exists() | (
            self.kind == "memory deleted" and self.memory.exists()
        ):
            found.append("made again after the deletion")
        return found

    def _promises(self, memory: Path, acks: str = "acks") -> list[str]:
        log = self.directory / ("log" if acks == "acks" else "no log")
        return broken_promises(memory, "a", self.directory / acks, log, SPEC, keep_s=KEEP_S)


def _delete(directory: Path) -> None:
    while directory.exists():  # a thread that writes at the same moment can make `rm` fail
        subprocess.run(["rm", "-rf", directory], check=False, stderr=subprocess.DEVNULL)


def _content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def move_writers(prepared: Prepared, kind: Kind, *, first: int = 1, every: int = 1) -> Iterator[tuple[int, list[str]]]:
    """Each kind of move before every so-many-th step; yields the step and the promises that were broken."""
    for at in range(first, prepared.steps + 1, every):
        yield at, Run(prepared, kind, at).broken()


# --- a real watch ---


@contextmanager
def _watch(memory: Path, acks: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [
        sys.executable, "-m", "afterview", "watch", "lavfi:testsrc2=size=96x64:rate=25", "--memory", str(memory),
        "--camera", "a", "--fps", "25", "--ack-file", str(acks),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not read_acks(acks) and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


def move_watch(directory: Path, kind: WatchKind, delay_s: float) -> list[str]:
    """Record, move or delete the camera's directory, record there again; every promise that was broken."""
    memory, away = directory / "m", directory / "away"
    with _watch(memory, directory / "acks-1") as first:
        time.sleep(delay_s)
        if kind == "moved":
            away.mkdir()
            (memory / "a").rename(away / "a")
            with _watch(memory, directory / "acks-2") as second:
                found = _ended(first, 1, f"was moved to {away / 'a'}")
                second.send_signal(signal.SIGINT)
                found += _ended(second, 0, "")
            return [*found, *_kept(away, directory / "acks-1"), *_kept(memory, directory / "acks-2")]
        _delete(memory / "a")
        promised = len(read_acks(directory / "acks-1"))
        found = _ended(first, 1, "was deleted")
        late = len(read_acks(directory / "acks-1")) - promised
        found += [f"{late} frames were acknowledged after the deletion"] if late > 1 else []  # one may be on its way
        return found + (["made again after the deletion"] if (memory / "a").exists() else [])


def _ended(process: "subprocess.Popen[str]", status: int, said: str) -> list[str]:
    try:
        _, text = process.communicate(timeout=END_S)
    except subprocess.TimeoutExpired:
        return ["the watch went on"]
    return [] if process.returncode == status and said in text else [f"exit {process.returncode}: {text[-300:]}"]


def _kept(memory: Path, acks: Path) -> list[str]:
    if not read_acks(acks):
        return [f"{acks.name}: nothing was acknowledged"]
    return broken_promises(memory, "a", acks, acks.with_name("no log"), Memory(memory).camera("a").spec, fps=25.0)


def move_watches(tally: Tally, moves: int, dice: random.Random, say: Callable[[str], None]) -> None:
    """Random moments of a running watch, moved and deleted in turn."""
    for number in range(moves):
        kind = get_args(WatchKind)[number % 2]
        directory = Path(tempfile.mkdtemp(prefix="afterview-moved-"))
        tally.broken += [f"watch, {kind}: {what}" for what in move_watch(directory, kind, dice.uniform(0, 3))]
        tally.kills[f"watch, {kind}"] += 1
        tally.acknowledged += sum(len(read_acks(acks)) for acks in directory.glob("acks-*"))
        shutil.rmtree(directory)
        say(f"{number + 1} watches moved or deleted, {len(tally.broken)} promises broken")


def main() -> int:
    """Run it all."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.moved", description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="of the steps of a made-up writer (default: each)")
    parser.add_argument("--watches", type=int, default=20, help="of a real watch (default: 20)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    tally, root = Tally(), Path(tempfile.mkdtemp(prefix="afterview-moved-"))

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    small_segments()
    prepared = Prepared(root)
    for kind in KINDS:
        for at, found in move_writers(prepared, kind, every=arguments.every):
            tally.kills[f"{kind}, before a step"] += 1
            for what in found:
                tally.broken.append(f"{kind}, before step {at} of {prepared.steps}: {what}")
                say(tally.broken[-1])
        say(f"{kind}: {len(tally.broken)} promises broken")
    shutil.rmtree(root)
    move_watches(tally, arguments.watches, random.Random(arguments.seed), say)
    total = (
        f"{tally.kills.total()} times moved, replaced or deleted; {tally.acknowledged} frames that watches acknowledged"
    )
    places = tally.lines()[: len(tally.kills)]
    print("\n".join([*places, total, *tally.broken, f"{len(tally.broken)} promises broken"]))
    return 1 if tally.broken else 0


if __name__ == "__main__":
    sys.exit(main())
