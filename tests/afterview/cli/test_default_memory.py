"""Which memory a command works on: --memory, its positional form, AFTERVIEW_MEMORY, the user's data directory."""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterview.cli.arguments import default_memory
from afterview.cli.main import build_parser, main
from afterview.configs import UsageError
from afterview.memory.writing.open import open_camera
from tests.support.memory_world import make_frame, make_spec


def make_memory(path: Path, camera: str) -> Path:
    spec = make_spec()
    with open_camera(path, camera, spec) as repository:
        repository.append(make_frame(0, spec))
    return path


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all commands and of their actions."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from parsers(each)


@pytest.fixture(autouse=True)
def data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's data directory."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data"


def test_the_option_wins_over_the_variable_and_the_variable_over_the_default(
    tmp_path: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    by_default, by_variable, by_option = (
        make_memory(path, path.name) for path in (data_home / "afterview" / "memory", tmp_path / "v", tmp_path / "o")
    )

    def said(*arguments: str) -> tuple[str, str]:
        assert main(["info", "--json", *arguments]) == 0
        out, err = capsys.readouterr()
        assert [camera["id"] for camera in json.loads(out)["cameras"]] == [Path(json.loads(out)["memory"]).name]
        return json.loads(out)["memory"], err

    memory, note = said()
    assert memory == str(by_default)
    assert note.count("\n") == 1
    assert all(part in note for part in (str(by_default), "the default", "--memory", "AFTERVIEW_MEMORY"))
    monkeypatch.setenv("AFTERVIEW_MEMORY", str(by_variable))
    memory, note = said()
    assert memory == str(by_variable)
    assert f"{by_variable} (from AFTERVIEW_MEMORY" in note
    for given in (["--memory", str(by_option)], [str(by_option)], [str(by_option), "--memory", f"{by_option}/."]):
        assert said(*given) == (given[-1], "")


def test_two_different_memories_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_memory(tmp_path / "a", "door")
    assert main(["info", str(tmp_path / "a"), "--memory", str(tmp_path / "b")]) == 2
    assert "two memories" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["info"], ["fsck"], ["retain"], ["search", "x"], ["ask", "What?"], ["pause"]])
def test_a_default_that_does_not_exist_is_named_with_the_remedies(
    command: list[str], data_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert all(part in error for part in (str(data_home / "afterview/memory"), "--memory DIR", "AFTERVIEW_MEMORY"))
    assert not data_home.exists()


@pytest.mark.parametrize("command", [["forget", "--last", "1h"], ["retain"], ["store", "leave"]])
def test_commands_that_delete_name_the_default_even_when_quiet(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AFTERVIEW_MEMORY", str(make_memory(tmp_path / "m", "door")))
    main([*command, "-q"])
    assert f"note: the memory is {tmp_path / 'm'} (from AFTERVIEW_MEMORY" in capsys.readouterr().err
    main(["info", "-q"])
    assert capsys.readouterr().err == ""


def test_where_the_default_lies() -> None:
    home = os.path.expanduser("~")
    assert default_memory({"AFTERVIEW_MEMORY": "~/x", "XDG_DATA_HOME": "/d"}) == (f"{home}/x", "from AFTERVIEW_MEMORY")
    assert default_memory({"XDG_DATA_HOME": "/d"})[0] == "/d/afterview/memory"
    for unset in ({}, {"XDG_DATA_HOME": ""}, {"XDG_DATA_HOME": "relative"}):
        assert default_memory(unset)[0] == f"{home}/.local/share/afterview/memory"


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_variable_is_a_mistake_and_not_the_default(text: str) -> None:
    with pytest.raises(UsageError, match="AFTERVIEW_MEMORY is empty"):
        default_memory({"AFTERVIEW_MEMORY": text, "XDG_DATA_HOME": "/d"})


def test_every_memory_option_has_the_default() -> None:
    found = 0
    for parser in parsers(build_parser()):
        for action in parser._actions:
            if "--memory" in action.option_strings:
                found += 1
                assert not action.required, f"{parser.prog}: use add_memory"
                assert "AFTERVIEW_MEMORY" in (action.help or ""), parser.prog
                assert parser.get_default("memory_instead") is not None, f"{parser.prog}: use add_memory"
    assert found >= 18
