"""Power loss: `python -m tests.crash.power`. Records a run, cuts the power after every step of it, reopens what is left.

kill -9 keeps the page cache and so never tests fsync; here what was not fsync'd is lost, in three ways (tests.crash.disk). Prints a
tally; exits 1 when a promise was broken.
"""

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from afterview.memory.base.durable import observed
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.index.frame_index import FrameIndex
from afterview.memory.plans.retention import Limits
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.repository import Repository
from tests.crash.disk import Disk, Recorder, Step, Survival
from tests.crash.promises import broken_promises
from tests.crash.writer import KEEP_S, SPECS, THIN_S, small_segments
from tests.support.memory_world import die_holding, make_frame

# What is left of each cut is written, opened and removed: in memory where the system has such a place. The cuts themselves are simulated.
_SCRATCH = "/dev/shm" if Path("/dev/shm").is_dir() else None
SURVIVALS: tuple[Survival, ...] = ("nothing", "names", "chance")
NOT_TRACED = (
    "lock",
    "building.lock",
    "reserve",
)  # hold no frames: the kernel drops a lock with its holder (what its text says is there, see _check), reserved space is only space


def record(memory: Path, spec: FeatureSpec, *, frames: int, seed: int) -> list[Step]:
    """A run of a writer: appends, seals, index saves, forgetting (also on a full disk), eviction, reopening. Every step that it took."""
    recorder, dice = Recorder(), random.Random(seed)
    small_segments()
    with observed(recorder):
        while True:
            with open_camera(memory, "a", spec) as repository:
                _work(repository, recorder, dice, until=min(frames, repository.frames + frames // 2))
                if repository.frames >= frames:
                    break
    return recorder.steps


def _work(repository: Repository, recorder: Recorder, dice: random.Random, *, until: int) -> None:
    index = FrameIndex(repository.directory / "index")
    while repository.frames < until:
        for _ in range(dice.randint(1, 12)):
            repository.append(make_frame(repository.frames, repository.spec))
        for ack in repository.sync():
            recorder.promise("ack", f"{ack.frame} {ack.time!r} {ack.crc:08x}")
        what = dice.random()
        if what < 0.2:
            index.catch_up(CameraReader(repository.directory).snapshot())
        elif what < 0.4 and repository.last_time is not None:
            stop = repository.last_time - dice.randint(0, 100)
            start = stop - dice.randint(1, 30)
            recorder.promise("log", f"forget {start!r} {stop!r}")
            with recorder.full(dice.random() < 0.5):
                repository.forget(start, stop)
            recorder.promise("log", f"forgotten {start!r} {stop!r}")
        elif what < 0.5:
            recorder.promise("log", f"evict {KEEP_S / 4!r}")
            repository.enforce(Limits(KEEP_S / 4, None))
        elif what < 0.7:
            repository.downsample(THIN_S / 2, ())


def untraced(memory: Path, steps: Sequence[Step]) -> list[str]:
    """Files whose content the trace does not explain: writes that went past `memory.base.durable`."""
    disk = Disk()
    for step in steps:
        disk.take(step)
    real = {path: path.read_bytes() for path in memory.rglob("*") if path.is_file() and path.name not in NOT_TRACED}
    traced = disk.files()
    return sorted(str(path) for path in real.keys() | traced.keys() if real.get(path) != traced.get(path))


def cuts(
    steps: Sequence[Step], places: Sequence[int], spec: FeatureSpec, seed: int
) -> Iterator[tuple[int, Survival, list[str]]]:
    """Cut the power after so many steps, for each of `places` and each way of surviving; yields the promises that were broken."""
    disk, wanted = Disk(), sorted(set(places))
    promised: dict[str, list[str]] = {"ack": [], "log": []}
    for place, step in enumerate(steps, 1):
        if step.kind in promised:
            promised[step.kind].append(str(step.detail))
        else:
            disk.take(step)
        if wanted and place == wanted[0]:
            wanted.pop(0)
            for survival in SURVIVALS:
                left = disk.after_power_loss(survival, random.Random(seed + place))
                yield place, survival, _check(left, promised, spec)


def evenly(count: int, places: int) -> list[int]:
    """So many step numbers from 1 to `count`."""
    return [1 + at * (count - 1) // max(1, places - 1) for at in range(places)]


def _check(left: dict[Path, bytes | None], promised: dict[str, list[str]], spec: FeatureSpec) -> list[str]:
    directory = Path(tempfile.mkdtemp(prefix="afterview-power-", dir=_SCRATCH))
    try:
        memory = directory / "m"
        memory.mkdir()
        for path, data in sorted(left.items()):
            target = memory.joinpath(*path.parts[path.parts.index("m") + 1 :])
            if data is None:
                target.mkdir(exist_ok=True)
            else:
                target.write_bytes(data)
        if (memory / "a").is_dir():
            die_holding(memory / "a")  # its text is fsync'd by whoever takes the lock, before anything else
        for name, lines in promised.items():
            (directory / name).write_text("".join(f"{line}\n" for line in lines))
        return broken_promises(memory, "a", directory / "ack", directory / "log", spec, keep_s=KEEP_S / 4)
    finally:
        shutil.rmtree(directory)


def main() -> int:
    """Record, cut, tally."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.power", description=__doc__)
    parser.add_argument("--frames", type=int, default=300, help="frames that the recorded run appends (default: 300)")
    parser.add_argument(
        "--prefixes", type=int, default=0, help="cut after this many evenly spread steps (default: every step)"
    )
    parser.add_argument("--tokens", choices=list(SPECS), default="float16", help="how the memory keeps its tokens")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="afterview-trace-"))
    spec = SPECS[arguments.tokens]
    steps = record(root / "m", spec, frames=arguments.frames, seed=arguments.seed)
    missed = untraced(root / "m", steps)
    count = len(steps)
    spread = (
        range(1, count + 1)
        if not arguments.prefixes
        else [1 + at * (count - 1) // arguments.prefixes for at in range(arguments.prefixes)]
    )
    broken, done = [f"not traced: {path}" for path in missed], 0
    for place, survival, found in cuts(steps, spread, spec, arguments.seed):
        done += 1
        broken += [f"power cut after step {place} of {count} ({survival} survives): {what}" for what in found]
        if done % 150 == 0:
            print(f"{done} power cuts, {len(broken)} promises broken", file=sys.stderr, flush=True)
    shutil.rmtree(root)
    print("\n".join([*broken, f"{count} steps recorded, {done} power cuts, {len(broken)} promises broken"]))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
