"""Completion on TAB, by the bash that would complete."""

import json
import subprocess
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from afterview.cli.main import main
from tests.afterview.cli.test_default_memory import make_memory

_COMPLETE = """
source "$1"; shift
PATH=/nowhere  # completing starts no program
COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
_shtab_afterview
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "afterview.bash"
    with path.open("w", encoding="utf-8") as file, redirect_stdout(file):
        assert main(["completion", "bash"]) == 0
    return path


def complete(script: Path, *words: object, **environment: str) -> set[str]:
    """What TAB offers for the last word."""
    done = subprocess.run(
        ["bash", "-c", _COMPLETE, "bash", str(script), "afterview", *map(str, words)],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
        env={"HOME": "/nowhere", **environment},
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def test_commands_and_their_actions(script: Path) -> None:
    assert complete(script, "se") == {"search", "serve"}
    assert complete(script, "re") == {"replay", "resume", "retain", "reembed"}
    assert complete(script, "store", "s") == {"set", "status"}


def test_options_are_those_of_the_command(script: Path) -> None:
    assert complete(script, "search", "ring", "--t") == {"--top"}
    assert complete(script, "store", "set", "--e") == {"--endpoint"}
    assert "--json" in complete(script, "info", "--")


def test_values(script: Path) -> None:
    assert complete(script, "watch", "x", "--tokens", "") == {"float16", "int8"}
    assert complete(script, "ask", "What?", "--model", "hour") == {"hour-llava-3b", "hour-llava-7b"}


def test_cameras_of_the_memory_that_is_named_or_is_the_default(script: Path, tmp_path: Path) -> None:
    make_memory(tmp_path / "a", "Front door")
    make_memory(tmp_path / "data/afterview/memory", "yard")
    assert complete(script, "ask", "What?", "--memory", tmp_path / "a", "--camera", "fr") == {"front-door"}
    assert complete(script, "ask", "What?", "--memory", "=", tmp_path / "a", "--camera", "") == {"front-door"}
    assert complete(script, "ask", "What?", "--camera", "", XDG_DATA_HOME=str(tmp_path / "data")) == {"yard"}
    assert complete(script, "ask", "What?", "--camera", "", AFTERVIEW_MEMORY=str(tmp_path / "a")) == {"front-door"}
    assert complete(script, "ask", "What?", "--camera", "") == set()


def test_directories_and_files(script: Path, tmp_path: Path) -> None:
    (tmp_path / "cameras").mkdir()
    (tmp_path / "clip.mp4").touch()
    assert complete(script, "info", f"{tmp_path}/c") == {f"{tmp_path}/cameras"}
    assert complete(script, "replay", f"{tmp_path}/cl") == {f"{tmp_path}/clip.mp4"}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_script_as_a_document(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["shell"] == shell
    assert "_afterview_cameras" in document["script"]
    assert "hour-llava-3b" in document["script"]
