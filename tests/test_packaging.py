"""The wheel: one top-level package, only what runs, and no quarrel with a user's own files of the folders' names."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINKS = ("configs", "memory", "model", "stream", "training")


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `pip install .` builds it, in an environment of its own, which pip fills from the registry."""
    out, copy = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("copy") / "source"
    ignored = shutil.ignore_patterns(
        ".*", "build", "dist", "tests", "docs", "*.egg-info", "__pycache__", "*-output", "cameras"
    )
    shutil.copytree(ROOT, copy, symlinks=True, ignore=ignored)  # a build leaves files beside its source
    built = run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", out, copy, cwd=out)
    if "Could not find a version" in built.stderr or "ConnectionError" in built.stderr:
        pytest.skip("no registry to fetch the build's own requirements from")
    assert built.returncode == 0, built.stderr
    (path,) = out.glob("*.whl")
    return path


@pytest.mark.integration
def test_a_wheel_holds_one_package_and_only_what_runs(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"afterview"}
    assert "afterview/py.typed" in names
    assert "afterview/configs/presets/tiny/model.safetensors" in names
    odd = [name for name in names if not name.endswith((".py", ".yaml", ".json", ".jinja", ".safetensors", "py.typed"))]
    assert not [name for name in odd if ".dist-info/" not in name]
    assert not [name for name in names if "evaluation/" in name and name.endswith(".json")]
    folders = [ROOT / folder for folder in LINKS]
    modules = {f"afterview/{path.relative_to(ROOT)}" for folder in folders for path in folder.rglob("*.py")}
    modules |= {str(path.relative_to(ROOT)) for path in (ROOT / "afterview").rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")}


@pytest.mark.thorough
@pytest.mark.integration
def test_it_works_beside_a_user_s_own_files_of_these_names(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "fresh", with_pip=False)
    python = tmp_path / "fresh" / "bin" / "python"
    site = Path(sysconfig.get_path("purelib"))
    installed = run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "-q", wheel, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr
    own = tmp_path / "own"
    (own / "configs").mkdir(parents=True)
    (own / "memory").mkdir()
    for name in ("model.py", "stream.py", "training.py", "configs/__init__.py", "memory/__init__.py"):
        (own / name).write_text("raise RuntimeError('a user's own file was imported')\n".replace("user's", "user"))
    # What afterview needs is taken from this environment; a path that is named so has no .pth files read, so not our checkout.
    program = (
        "import afterview, afterview.api; from afterview.model.checkpoint.loading import load_encoders; print(afterview.__file__);"
        "print(load_encoders('tiny', device='cpu').name)"
    )
    done = run(python, "-c", program, cwd=own, PYTHONPATH=str(site), HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        str(next((tmp_path / "fresh").glob("lib/*/site-packages/afterview/__init__.py"))),
        "tiny",
    ]
    version = run(tmp_path / "fresh" / "bin" / "afterview", "--version", cwd=own, PYTHONPATH=str(site))
    assert version.stdout.startswith("afterview "), version.stderr


def test_a_copy_without_links_says_so(tmp_path: Path) -> None:
    shutil.copy(ROOT / "setup.py", tmp_path)
    (tmp_path / "afterview").mkdir()
    for name in LINKS:
        (tmp_path / "afterview" / name).write_text(f"../{name}")  # what unzipping makes of a link
    done = run(sys.executable, "setup.py", "--version", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: afterview/configs should be a link")


def test_the_bare_names_are_refused_here() -> None:
    for name in LINKS:
        with pytest.raises(ImportError, match=f"import afterview.{name}, not {name}"):
            __import__(name)
