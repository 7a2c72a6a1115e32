"""The audit: durable, bounded, and never in the way."""

import json
import stat
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from afterview.memory.base.durable import StepKind, observed
from afterview.stream.service.people import audit as module
from afterview.stream.service.people.access import owner
from afterview.stream.service.people.audit import FILE, Audit, append_lines, line_of, read_audit
from tests.support.servers import wait_until


def lines(count: int, first: int = 0) -> list[module.Line]:
    return [line_of(owner("10.0.0.1"), "question", text=f"question {number}") for number in range(first, first + count)]


def test_lines_are_private_and_come_back_newest_first(tmp_path: Path) -> None:
    written = lines(5)
    append_lines(tmp_path, written[:3])
    append_lines(tmp_path, written[3:])
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert read_audit(tmp_path, 2) == (written[:2:-1], 0)
    assert read_audit(tmp_path, 9, written[3]["id"])[0] == written[2::-1]
    assert read_audit(tmp_path, 9, "no such id") == ([], 0)
    assert read_audit(tmp_path, 9, wanted=lambda line: line["text"] == "question 1")[0] == [written[1]]
    assert read_audit(tmp_path / "nothing", 9) == ([], 0)
    assert written[0]["user"] == "owner"
    assert written[0]["address"] == "10.0.0.1"
    assert len(json.dumps(line_of(owner(), "question", text="x" * 100_000))) < 5000


def test_it_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 2000)
    for number in range(200):
        append_lines(tmp_path, lines(1, number))
    files = sorted(path.name for path in tmp_path.glob(f"{FILE}*"))
    assert files == [FILE, *(f"{FILE}.{number}" for number in range(1, module.KEPT + 1))]
    assert all((tmp_path / name).stat().st_size <= 2000 for name in files)
    found, _ = read_audit(tmp_path, 1000)
    texts = [line["text"] for line in found]
    assert texts == [f"question {number}" for number in range(199, 199 - len(texts), -1)]
    assert len(texts) > 40


def test_what_a_crash_left_costs_one_line(tmp_path: Path) -> None:
    append_lines(tmp_path, lines(2))
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"id": "12", "ti')
    append_lines(tmp_path, lines(1, 2))
    found, unreadable = read_audit(tmp_path, 10)
    assert ([line["text"] for line in found], unreadable) == (["question 2", "question 1", "question 0"], 1)


def test_long_files_are_read_backward_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 7)
    append_lines(tmp_path, lines(20))
    assert [line["text"] for line in read_audit(tmp_path, 100)[0]] == [
        f"question {number}" for number in range(19, -1, -1)
    ]


class Full:
    """A disk that refuses to write while it is full."""

    def __init__(self) -> None:
        self.full = False

    def __call__(self, kind: StepKind, path: Path, detail: object) -> None:
        if self.full and kind == "write":
            raise OSError(28, "No space left on device", str(path))


def test_a_full_disk_loses_nothing_until_there_is_no_room_to_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TRY_AGAIN_S", 0.02)
    monkeypatch.setattr(module, "MOST_WAITING", 5)
    disk = Full()
    with observed(disk):
        audit = Audit(tmp_path)
        audit.note(owner(), "question", text="before")
        assert wait_until(lambda: len(read_audit(tmp_path, 9)[0]) == 1, 5)
        disk.full = True
        for number in range(8):
            audit.note(owner(), "question", text=f"question {number}")
        assert wait_until(lambda: bool(audit.problem), 5)
        assert "5 lines wait, 3 were lost" in audit.notes()[0]
        disk.full = False
        assert wait_until(lambda: not audit.problem, 5)
        audit.close()
    found = [(line["what"], line.get("text"), line.get("lines")) for line in read_audit(tmp_path, 99)[0]]
    assert ("audit_lost", None, 3) in found
    assert [text for what, text, _ in reversed(found) if what == "question"] == [
        "before",
        *(f"question {n}" for n in range(3, 8)),
    ]
    assert audit.notes() == ["3 lines of the audit were lost"]


def test_a_line_that_is_dropped_while_it_is_written_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    begun, go_on, append = threading.Event(), threading.Event(), module.append_lines

    def slowly(memory: Path, lines: Sequence[module.Line]) -> None:
        begun.set()
        assert go_on.wait(5)
        append(memory, lines)

    monkeypatch.setattr(module, "append_lines", slowly)
    audit = Audit(tmp_path)
    audit.note(owner(), "question", text="0")
    assert begun.wait(5)
    audit.note(owner(), "question", text="1")
    audit.note(owner(), "question", text="2")  # there is no room for the first one, which is on its way
    go_on.set()
    audit.close()
    assert [line["text"] for line in reversed(read_audit(tmp_path, 9)[0])] == ["0", "1", "2"]
    assert audit.notes() == []


def test_the_end_waits_for_what_was_noted(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    for number in range(100):
        audit.note(owner(), "question", text=f"question {number}")
    audit.close()
    assert len(read_audit(tmp_path, 1000)[0]) == 100
