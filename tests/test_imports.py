"""Who may load what. Measured in fresh interpreters, since a test session has everything loaded already."""

import subprocess
import sys
from pathlib import Path

import pytest

from afterview.cli.main import main
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.writing.open import open_camera
from tests.support.clips import make_clip
from tests.support.memory_world import make_frame, make_spec

ROOT = Path(__file__).parent.parent


def loaded_after(code: str) -> set[str]:
    names = "{'.'.join(name.split('.')[:depth]) for name in sys.modules for depth in (1, 2)}"
    program = f"import sys\n{code}\nprint(*sorted({names}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "module",
    ["plans.visibility", "plans.positions", "plans.recall", "plans.retention", "plans.removal", "base.feature_spec"],
)
def test_the_pure_plans_load_numpy_only(module: str) -> None:
    assert not loaded_after(f"import afterview.memory.{module}") & {"zarr", "faiss", "av", "torch", "uvloop"}


def test_the_model_room_loads_without_the_store_and_without_video() -> None:
    modules = [f"afterview.model.{path.stem}" for path in (ROOT / "model").glob("*.py") if path.stem != "__init__"]
    block = (
        "import importlib.abc\n"
        "class Block(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.split('.')[0] in {'zarr', 'faiss', 'av', 'aiomqtt', 'uvloop'}: raise ImportError(name + ' is blocked')\n"
        "sys.meta_path.insert(0, Block())\n"
    )
    loaded = loaded_after(block + "import " + ", ".join(modules))
    assert "torch" in loaded
    assert not loaded & {"zarr", "faiss", "av", "uvloop"}


@pytest.mark.parametrize(
    "code",
    [
        "import afterview",
        "import afterview; afterview.open, afterview.ask, afterview.search, afterview.info, afterview.UsageError, afterview.DamagedMemory",
        "import afterview.cli.main as m; m.build_parser().format_help()",
        "import afterview.cli.commands.info",
        "import afterview.cli.commands.show, afterview.cli.commands.answers",
        "import afterview.cli.commands.fsck, afterview.cli.commands.manage, afterview.cli.commands.exchange",
        "import afterview.stream.ask.answerer, afterview.stream.session, afterview.stream.ingest.camera",
        "import afterview.memory.directory, afterview.memory.writing.repository",
        "import afterview.model.checkpoint.preset, afterview.model.vision.preprocess",
    ],
)
def test_these_never_wait_for_torch(code: str) -> None:
    assert not loaded_after(code) & {"torch", "transformers", "faiss"}


def test_a_memory_s_times_are_read_without_zarr(tmp_path: Path) -> None:
    """Loading it takes as long as all the rest of `info`."""
    spec = make_spec()
    repository = open_camera(tmp_path, "door", spec)
    for number in range(SEAL_FRAMES + 1):
        repository.append(make_frame(number, spec))
    repository.close()
    directory = str(tmp_path)
    assert "zarr" not in loaded_after(f"import afterview.cli.main as m; m.main(['info', {directory!r}])")


def test_help_loads_no_numpy_and_info_nothing_that_writes() -> None:
    """How long they take: `python -m tests.bench startup`."""
    assert not loaded_after("import afterview.cli.main as m; m.build_parser().format_help()") & {
        "numpy",
        "afterview.memory",
    }
    writers = {"afterview.memory.writing.repository", "afterview.memory.sync.upload", "afterview.stream"}
    program = "import sys, afterview.cli.main as m\nm.main(['info', 'nowhere'])\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "afterview.cli.commands.info" in done.stdout.split()
    assert not writers & set(done.stdout.split())


def test_a_question_loads_only_what_it_needs_and_keeps_it_from_the_collector(tmp_path: Path) -> None:
    """What `ask` takes: `python -m tests.bench startup`."""
    clip = make_clip(tmp_path / "clip.mp4", frames=30, rate=10)
    memory = str(tmp_path / "memory")
    assert main(["replay", str(clip), "--memory", memory, "-q"]) == 0
    ask = ["ask", "Which scene do you see now?", "--memory", memory, "-q"]
    program = f"import gc, sys, afterview.cli.main as m\nm.main({ask!r})\nprint(gc.isenabled(), gc.get_freeze_count(), *sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    enabled, frozen, *loaded = done.stdout.splitlines()[-1].split()
    assert "transformers.models.qwen2.modeling_qwen2" in loaded
    assert enabled == "True"
    assert int(frozen) > 300_000, "objects of torch and transformers; collections no longer walk over them"
    heavy = {
        "av", "uvloop", "aiomqtt", "obstore", "peft", "matplotlib", "scipy", "sklearn", "pandas", "torchvision", "PIL.ImageFont",
        "transformers.trainer", "transformers.pipelines", "torch._inductor.compile_fx",
        "afterview.training", "afterview.stream.source", "afterview.stream.ingest", "afterview.memory.writing",
    }  # fmt: skip
    assert not heavy & set(loaded)


def test_the_sdk_of_mcp_is_loaded_when_an_assistant_comes() -> None:
    """It takes most of a second, and most services have no assistant."""
    assert "mcp" not in loaded_after("import afterview.stream.service.serve, afterview.cli.commands.serve")
    program = "import sys, afterview.cli.main as m\nm.main(['mcp', '--memory', 'nowhere'])\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "torch" not in done.stdout.split()


def test_public_names_are_all_there() -> None:
    import afterview

    for name in afterview.__all__:
        assert getattr(afterview, name) is not None
