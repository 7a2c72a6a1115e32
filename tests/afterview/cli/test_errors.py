"""How commands fail: one line, the exit status of the table, what was probably meant, and one document with --json."""

import ast
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from afterview.cli import main as cli
from afterview.configs.errors import AfterviewError, ExitStatus
from tests.afterview.cli.test_default_memory import make_memory

ROOT = Path(__file__).parent.parent.parent.parent


def fail(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a command with wrong arguments prints."""
    assert cli.main(arguments) == ExitStatus.USAGE
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize(
    ("typed", "meant", "explained"),
    [
        (["serch", "a ring"], "'search'", "afterview --help"),
        (["ask", "--memry", "m", "What?"], "'--memory'", "afterview ask --help"),
        (["reembed", "--modle", "tiny"], "'--model'", "afterview reembed --help"),  # before what is missing
        (["info", "--mem", "m"], "'--memory'", "afterview info --help"),  # abbreviations are refused
        (["store", "stauts"], "'status'", "afterview store --help"),
        (["store", "status", "--memroy=m"], "'--memory'", "afterview store status --help"),
    ],
)
def test_what_was_probably_meant_is_named(
    typed: list[str], meant: str, explained: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = fail(capsys, *typed)
    assert f"did you mean {meant}?" in said
    assert f"`{explained}`" in said


def test_a_camera_that_was_probably_meant_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("Front door", "yard"):
        make_memory(tmp_path, name)
    said = fail(capsys, "mask", "--memory", str(tmp_path), "--camera", "frontdor")
    assert "no camera 'frontdor'" in said
    assert "did you mean 'Front door'? There are: front-door, yard" in said
    assert "there are: front-door, yard" in fail(capsys, "mask", "--memory", str(tmp_path), "--camera", "zzz")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["watch", "x", "--tokens", "int4"], "--tokens: unknown choice 'int4'; there are: float16, int8"),
        (["ask", "What?", "--seed", "1.5"], "--seed: '1.5' is not a whole number"),
        (["watch", "x", "--fps", "fast"], "--fps: 'fast' is not a number"),
        (["search"], "missing: TEXT"),
        (["info", "a", "b"], "too many arguments: b"),
        (["info", "a", "-x"], "unknown option '-x'"),
        (["ask", "What?", "--zzz"], "unknown option '--zzz' ("),
        (["--memory", "m", "info"], "unknown option '--memory'; the options of a command come after it"),
        (
            ["store", "--endpoint", "http://nas", "set"],
            "unknown option '--endpoint'; the options of a command come after",
        ),
    ],
)
def test_errors_are_in_plain_words(typed: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in fail(capsys, *typed)


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    said = capsys.readouterr()
    error = json.loads(said.out)
    assert list(error) == ["error"]
    assert error["error"]["message"] in said.err, "the text stays on standard error"
    return error["error"]


def test_wrong_arguments_are_a_document_with_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serch", "--json"]) == 2
    error = document(capsys)
    assert (error["kind"], error["exit_status"]) == ("usage", 2)
    assert cli.main(["search", "--", "--json", "x"]) == 2
    assert capsys.readouterr().out == "", "behind -- it is no option"


def test_a_failing_command_is_a_document_with_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", str(tmp_path / "nowhere"), "--json"]) == 2
    error = document(capsys)
    assert (error["kind"], error["exit_status"]) == ("memory_not_found", 2)


@pytest.mark.parametrize(
    ("raised", "kind", "status"),
    [(KeyboardInterrupt(), "interrupted", 130), (ZeroDivisionError("oh"), "unexpected", 1)],
)
def test_interruption_and_bugs_are_documents_with_json(
    raised: BaseException, kind: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(arguments: object) -> int:
        raise raised

    monkeypatch.setattr(cli, "_load", lambda module: SimpleNamespace(run=run, resolve_memory=lambda arguments: None))
    assert cli.main(["info", "m", "--json"]) == status
    error = document(capsys)
    assert (error["kind"], error["exit_status"]) == (kind, status)


# --- exit statuses ---


def table() -> dict[int, str]:
    """The exit statuses that users are told of."""
    text = (ROOT / "docs/cli.md").read_text(encoding="utf-8").partition("## Exit status")[2].partition("\n## ")[0]
    return {int(status): name for status, name in re.findall(r"^\| (\d+) \| ([^|]+?) \|", text, flags=re.MULTILINE)}


def error_classes(root: type[AfterviewError]) -> Iterator[type[AfterviewError]]:
    yield root
    for each in root.__subclasses__():
        yield from error_classes(each)


def test_the_table_has_every_status_and_no_other() -> None:
    assert set(table()) == {int(status) for status in ExitStatus}


def test_every_error_has_a_status_of_the_table() -> None:
    for module in ("memory.base.errors", "model.base.errors", "stream.errors", "training.base.errors"):
        importlib.import_module(f"afterview.{module}")
    for each in error_classes(AfterviewError):
        if each.__module__.startswith("afterview."):
            assert each.exit_status in set(ExitStatus), each


def own_nodes(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """What is in a function, but not in the functions inside it."""
    for node in function.body:
        if not isinstance(node, ast.FunctionDef):
            yield node
            for each in ast.walk(node):
                yield from () if isinstance(each, ast.FunctionDef) else (each,)


def returned(path: Path) -> Iterator[tuple[str, ast.expr]]:
    """What the functions of a file return that return an exit status: those that say `-> int`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and isinstance(node.returns, ast.Name) and node.returns.id == "int":
            for each in own_nodes(node):
                if isinstance(each, ast.Return) and each.value:
                    choice = each.value
                    yield from (
                        (node.name, it)
                        for it in ([choice.body, choice.orelse] if isinstance(choice, ast.IfExp) else [choice])
                    )


def test_every_command_returns_statuses_of_the_table() -> None:
    """By name, or what another function returns."""
    names = {f"ExitStatus.{status.name}" for status in ExitStatus}
    commands = [path for path in (ROOT / "afterview/cli/commands").glob("*.py") if path.name != "__init__.py"]
    assert len(commands) >= 14
    for path in commands:
        found = list(returned(path))
        assert "run" in {function for function, _ in found}, path
        for function, value in found:
            if not isinstance(value, ast.Call):
                assert ast.unparse(value) in names, f"{path.name}: {function}: return {ast.unparse(value)}"
