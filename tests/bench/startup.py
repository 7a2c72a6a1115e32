"""Start-up: of commands that load no model; of the imports that a model needs; and of `ask` as a whole process, with and without what
shortens them.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.writing.open import open_camera
from tests.bench.table import Table
from tests.support.memory_world import make_frame, make_spec

CAMERAS, RUNS = 4, 7
IMPORT_RUNS, FRAMES = 3, 600

_COLLECTED = (
    "import afterview.cli.imports as i, contextlib; i.without_collection = lambda **o: contextlib.nullcontext()\n"
)
_QUICK = "from afterview.cli.imports import without_collection\nwith without_collection(freeze=True):\n    "
_ASK = "import sys, afterview.cli.main as m; sys.exit(m.main(['ask', 'Did you see a red ring?', '--memory', {memory!r}, '--json']))"
_LOADING = "import afterview.model.checkpoint.loading"
# Our modules and all that they import, with empty classes in place of transformers': what a decoder, a text tower and a tokenizer of our
# own would still have to import.
_STUBS = (
    "import sys, types\n"
    "class Stub(types.ModuleType):\n"
    "    def __getattr__(self, name):\n"
    "        if name.startswith('__'): raise AttributeError(name)\n"
    "        setattr(self, name, type(name, (), {})); return self.__dict__[name]\n"
    "for name in ('transformers', 'transformers.models', 'transformers.models.qwen2', 'transformers.models.qwen2.modeling_qwen2'):\n"
    "    sys.modules[name] = Stub(name); sys.modules[name].__path__ = []\n"
)


def run() -> list[Table]:
    """Takes three minutes."""
    return [_without_model(), _imports(), _questions()]


def _imports() -> Table:
    table = Table(
        "What a model imports",
        ["program", "seconds", "of process time"],
        f"Median of {IMPORT_RUNS} runs, in turn; load average {os.getloadavg()[0]:.1f} at the start. "
        "Quick: as the command line imports, with the collector off and what was made kept out of its later runs, that at exit included.",
    )
    programs = {
        "import torch": "import torch",
        "import transformers": "import transformers",
        "import transformers.models.qwen2.modeling_qwen2": "import transformers.models.qwen2.modeling_qwen2",
        "our modules of a model": _LOADING,
        "import torch, quick": f"{_QUICK}import torch",
        "import torch, torch._dynamo, quick": f"{_QUICK}import torch, torch._dynamo",
        "import transformers.models.qwen2.modeling_qwen2, quick": f"{_QUICK}import transformers.models.qwen2.modeling_qwen2",
        "our modules of a model, quick": f"{_QUICK}{_LOADING}",
        "our modules of a model, quick, with stubs for transformers": f"{_STUBS}{_QUICK}{_LOADING}",
        "import faiss": "import faiss",
        "import zarr": "import zarr",
        "import av": "import av",
    }
    _measure(table, {name: ("-c", program) for name, program in programs.items()})
    return table


def _questions() -> Table:
    table = Table(
        "ask as a whole process",
        ["program", "seconds", "of process time"],
        f"One question to one camera of {FRAMES} frames, tiny model. Median of {IMPORT_RUNS} runs, in turn; load average "
        f"{os.getloadavg()[0]:.1f} at the start. Before: the collector runs as usual. With a service there: `service`.",
    )
    with tempfile.TemporaryDirectory() as directory:
        video, memory = Path(directory) / "story.mp4", Path(directory) / "memory"
        for arguments in (
            ("world", "make", str(video), "--seed", "7", "--for", f"{FRAMES}s"),
            ("replay", str(video), "--memory", str(memory), "--camera", "hall"),
        ):
            subprocess.run([sys.executable, "-m", "afterview", *arguments, "-q"], check=True, capture_output=True)
        ask = _ASK.format(memory=str(memory))
        process_seconds("-c", ask)  # makes the index
        _measure(table, {"ask, before": ("-c", _COLLECTED + ask), "ask": ("-c", ask)})
    return table


def _measure(table: Table, programs: dict[str, tuple[str, ...]]) -> None:
    """Run each program in turn, so that a busy machine slows all of them alike."""
    runs = [[process_seconds(*arguments) for arguments in programs.values()] for _ in range(IMPORT_RUNS)]
    for number, name in enumerate(programs):
        wall, busy = (statistics.median(run[number][column] for run in runs) for column in (0, 1))
        table.add(name, f"{wall:.2f}", f"{busy:.2f}")


def _without_model() -> Table:
    table = Table(
        "Start of commands that load no model",
        ["command", "seconds", "of process time", "interpreters' starts"],
        f"Median of {RUNS} runs, in turn; process time is user and system time. Last column: seconds over those of `python -c pass`.",
    )
    with tempfile.TemporaryDirectory() as directory:
        _fill(Path(directory))
        commands = {
            "python -c pass": ("-c", "pass"),
            "afterview --help": ("-m", "afterview", "--help"),
            "afterview info, no memory there": ("-m", "afterview", "info", str(Path(directory) / "nowhere")),
            f"afterview info, {CAMERAS} cameras": ("-m", "afterview", "info", directory),
        }
        runs = [[process_seconds(*arguments) for arguments in commands.values()] for _ in range(RUNS)]
    wall = [statistics.median(run[number][0] for run in runs) for number in range(len(commands))]
    for number, name in enumerate(commands):
        busy = statistics.median(run[number][1] for run in runs)
        table.add(name, f"{wall[number]:.2f}", f"{busy:.2f}", f"{wall[number] / wall[0]:.0f}")
    return table


def _fill(memory: Path) -> None:
    spec = make_spec()
    for camera in range(CAMERAS):
        repository = open_camera(memory, f"camera{camera}", spec)
        for number in range(SEAL_FRAMES + 1):
            repository.append(make_frame(number, spec))
        repository.close()


def process_seconds(*arguments: str) -> tuple[float, float]:
    """Wall and process seconds of one interpreter."""
    before, started = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
    wall, after = time.perf_counter() - started, os.times()
    return wall, (after.children_user + after.children_system) - (before.children_user + before.children_system)
