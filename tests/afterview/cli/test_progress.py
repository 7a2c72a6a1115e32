"""Work that takes long says so on standard error, without a terminal in lines, and with -q not at all."""

import logging
import re
import sys
import threading
from collections.abc import Iterator

import pytest

from afterview.cli import progress as module
from afterview.cli.logs import show_logs
from afterview.cli.progress import announced, progress


class Lines(logging.Handler):
    """Lines of the log, and a wait for the next."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._came = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        with self._came:
            self.texts.append(record.getMessage())
            self._came.notify_all()

    def wait(self, count: int) -> list[str]:
        """The first `count` lines."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.texts) >= count, timeout=20)
            return self.texts[:count]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    monkeypatch.setattr(module, "FIRST_S", 0.01)
    monkeypatch.setattr(module, "EVERY_S", 0.01)
    show_logs(0)
    handler = Lines()
    logger = logging.getLogger("afterview.cli.progress")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    show_logs(0)


def test_a_long_step_is_announced_with_the_time_that_has_passed(lines: Lines) -> None:
    with announced("loading model tiny"):
        said = lines.wait(2)
    assert all(re.fullmatch(r"loading model tiny \.\.\. \d\.\d s", text) for text in said)
    count = len(lines.texts)
    assert not threading.Event().wait(0.05)
    assert len(lines.texts) == count, "nothing is said after the end"


def test_a_step_that_begins_to_print_is_not_announced_any_more(lines: Lines) -> None:
    with announced("answering") as end:
        lines.wait(1)
        end()
        count = len(lines.texts)
        assert not threading.Event().wait(0.05)
        assert len(lines.texts) <= count + 1  # one may have been on its way


def test_a_short_step_says_nothing(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_S", 60.0)
    with announced("loading"), progress("video", "frames") as report:
        report(1, 2)
    assert not lines.texts


def test_lines_come_though_the_work_reports_nothing(lines: Lines) -> None:
    with progress("video", "frames") as report:
        assert re.fullmatch(r"video \.\.\. \d\.\d s", lines.wait(1)[0])
        report(0, 10)
        report(5, 10)
        said = lines.wait(len(lines.texts) + 2)[-1]
        assert re.fullmatch(r"video: 5 of 10 frames, .* left", said)
        report(10, 10)
        assert lines.wait(len(lines.texts) + 2)[-1] == "video: 10 of 10 frames"


def test_a_failure_ends_the_lines_and_passes(lines: Lines) -> None:
    with pytest.raises(ValueError, match="broken"), announced("loading"):
        raise ValueError("broken")
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]


def test_quiet_shows_nothing_and_starts_no_thread(lines: Lines) -> None:
    show_logs(-1)
    with announced("loading"), progress("video", "frames") as report:
        report(1, 2)
        assert not [thread for thread in threading.enumerate() if thread.name == "progress"]
    assert not lines.texts


def test_lines_go_to_standard_error(lines: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    with announced("loading"):
        lines.wait(1)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("loading ... ")


def test_work_that_prints_has_no_bar_on_a_terminal(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress("live", "frames", bar=False) as report:
        report(3, 60)
        assert lines.wait(1)[0].startswith("live")


def test_a_step_may_be_announced_earlier_than_others(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_S", 60.0)
    with announced("loading", first_s=0.01):
        assert lines.wait(1)
