"""What `--help` and the documents tell a new user: every argument is explained, and every example can be parsed."""

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterview.cli.main import build_parser
from tests.afterview.cli.test_default_memory import parsers

ROOT = Path(__file__).parent.parent.parent.parent
PARSERS = {parser.prog: parser for parser in parsers(build_parser())}


def help_of(parser: argparse.ArgumentParser, monkeypatch: pytest.MonkeyPatch, width: int = 120) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    return parser.format_help()


def examples(text: str) -> Iterator[list[str]]:
    """The commands of a text: indented lines, or lines after a prompt."""
    joined = re.sub(r" *\\\n\s*", " ", text)
    for line in re.findall(r"^(?: {2,}|\$ )(?:\.venv/bin/)?afterview (.*)$", joined, flags=re.MULTILINE):
        plain = re.sub(r" (>|<|\|) .*|\s{2,}.*|[\[\]]", "", line)  # no pipes, no explanation; what is optional is there
        yield shlex.split(plain, comments=True)


@pytest.mark.parametrize("name", PARSERS)
def test_every_argument_is_explained(name: str) -> None:
    for action in PARSERS[name]._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                assert choice.help, f"{name}: {choice.dest}"
        else:
            assert action.help, f"{name}: {action.dest}"


@pytest.mark.parametrize("name", PARSERS)
def test_examples_of_the_help_can_be_parsed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = PARSERS[name]
    found = list(examples(help_of(parser, monkeypatch)))
    assert found or parser._subparsers is not None or name.split()[1] in SELF_EXPLANATORY, "give an example"
    for example in found:
        build_parser().parse_args(example)  # raises for a mistake


SELF_EXPLANATORY = {"demo", "fsck", "resume", "train", "store"}  # one obvious form, or shown one level above


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_commands_of_the_documents_can_be_parsed(path: Path) -> None:
    for command in examples(path.read_text(encoding="utf-8")):
        if command != ["--help"]:
            build_parser().parse_args(command)


def test_examples_are_found() -> None:
    text = "  afterview info ./m > out\n$ afterview ask 'a b' \\\n    --memory m  # why\nafterview is a word\n"
    assert list(examples(text)) == [["info", "./m"], ["ask", "a b", "--memory", "m"]]
    assert len(list(examples((ROOT / "docs/commands.md").read_text(encoding="utf-8")))) > 10


def test_paragraphs_are_wrapped_and_examples_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    text = help_of(PARSERS["afterview watch"], monkeypatch, width=70)
    description, _, examples = text.partition("Record")[2].split("\n\n")[:3]
    assert len(description.splitlines()) > 2
    assert all(len(line) <= 70 for line in description.splitlines())
    assert "  afterview watch lavfi:testsrc2=size=640x360:rate=25 --memory ./cameras --camera pattern --for 20s" in (
        examples.splitlines()
    ), "a command that can be copied"
    names = help_of(PARSERS["afterview"], monkeypatch)
    assert re.search(r"^ +completion +print", names, flags=re.MULTILINE), "the longest name is on the line of its text"


def test_numbers_have_one_name() -> None:
    for name, parser in PARSERS.items():
        for action in parser._actions:
            if action.type in (int, float):
                assert action.metavar in ("N", "S", "SHARE"), f"{name} {action.option_strings}"


def test_common_options_come_last_and_are_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, parser in PARSERS.items():
        if parser._subparsers is None:
            tail = help_of(parser, monkeypatch).partition("\noutput:\n")[2]
            expected = (
                ("-v,", "-q,") if name in ("afterview mcp", "afterview evaluate worker") else ("--json", "-v,", "-q,")
            )  # they speak a protocol there
            assert all(option in tail for option in expected), name


def test_replay_has_one_source_and_says_nothing_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "several sources" in " ".join(help_of(PARSERS["afterview watch"], monkeypatch).split())
    assert "several sources" not in " ".join(help_of(PARSERS["afterview replay"], monkeypatch).split())
