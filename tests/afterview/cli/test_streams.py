"""Standard streams that are closed, full, or whose reader has gone; and failures that are nobody's bug."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from afterview.cli import failures
from afterview.cli.commands import info
from afterview.cli.main import main
from afterview.memory.writing.open import open_camera
from tests.support.memory_world import make_frame, make_spec


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("memory")
    with open_camera(path, "door", make_spec()) as repository:
        repository.append(make_frame(0, make_spec()))
    return path


@pytest.mark.parametrize(
    ("tail", "status", "said", "unbuffered"),
    [
        ("info {m} >/dev/full", 1, "standard output cannot be written: the disk is full", "1"),
        ("info {m} --json >/dev/full", 1, "standard output cannot be written: the disk is full", ""),
        ("info {m} >&-", 1, "standard output is closed", ""),
        ("info {m} 2>&-", 0, "", ""),
        ("info nowhere 2>/dev/full", 2, "", ""),
        ("info {m} | true", None, "", ""),
        ("--help >/dev/full", 1, "standard output cannot be written", "1"),
    ],
)
def test_streams_that_do_not_work(memory: Path, tail: str, status: int | None, said: str, unbuffered: str) -> None:
    command = f"{sys.executable} -m afterview {tail.format(m=memory)}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    assert status is None or done.returncode == status
    assert said in done.stderr
    for word in ("bug", "Traceback", "Exception ignored"):
        assert word not in done.stderr


def test_a_closed_stream_gives_its_number_to_no_file(memory: Path) -> None:
    """FFmpeg writes its log to number 2, and would write it into a memory's file that got the number."""
    code = "import os, sys; from afterview.cli.main import main; main(['info', sys.argv[1]]); os._exit(os.open('/', 0))"
    done = subprocess.run(
        ["bash", "-c", f'{sys.executable} -c "{code}" {memory} >&- 2>&-'], check=False, timeout=60
    )  # fmt: skip
    assert done.returncode > 2


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "/x/y: cannot be written: the disk is full"),
        (
            OSError(errno.EROFS, "Read-only file system", "/x/y"),
            "/x/y: cannot be written: its file system is read-only",
        ),
        (OSError(errno.EMFILE, "Too many open files", "/x/y"), "/x/y: cannot be used: this process has too many open"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "/x/y"), "/x/y: cannot be used: is a directory, not a file"),
        (ValueError("embedded null byte"), "NUL byte"),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"), "not UTF-8 text"),
        (MemoryError(), "not enough free memory"),
    ],
)
def test_what_the_system_refuses_is_never_called_a_bug(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: object) -> int:
        raise error

    monkeypatch.setattr(info, "run", fail)
    assert main(["info", "m"]) == 1
    printed = capsys.readouterr().err
    assert said in printed
    assert "bug" not in printed
    assert "Errno" not in printed
    assert printed.count("\n") == 1


def test_a_bug_is_still_called_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert failures.words(KeyError("x")) is None
    monkeypatch.setattr(info, "run", lambda arguments: {}["x"])
    assert main(["info", "m"]) == 1
    assert "KeyError" in capsys.readouterr().err
