"""Live lines on a terminal, by a small emulation of one; and plain lines where there is none."""

import fcntl
import logging
import math
import os
import pty
import re
import struct
import termios
import tty
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from afterview.cli.logs import show_logs, show_times
from afterview.cli.output.recording import Meter, live_rows
from afterview.cli.progress import LiveLines, cells, fit, live_lines, pad, write_line
from afterview.memory.base.camera import new_camera
from tests.support.terminal import Screen, TerminalProcess

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "


class Terminal:
    """A pseudo-terminal that is standard error of this process."""

    def __init__(self, columns: int = 40, rows: int = 10) -> None:
        self._master, slave = pty.openpty()
        tty.setraw(slave)  # what is written comes out as it is
        self.stream = os.fdopen(slave, "w", encoding="utf-8", errors="backslashreplace")
        self.screen = Screen(columns, rows)
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        self.screen.columns, self.screen.rows = columns, rows
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def lines(self) -> list[str]:
        """What it shows now, without the empty line of the cursor."""
        os.set_blocking(self._master, False)
        try:
            while data := os.read(self._master, 65536):
                self.screen.feed(data.decode().replace("\n", "\r\n"))
        except BlockingIOError:
            pass
        assert self.screen.unknown == []
        shown = self.screen.everything()
        assert shown.pop() == ""
        assert self.screen.column == 0
        return shown


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    terminal = Terminal()
    monkeypatch.setattr("afterview.cli.progress.sys", SimpleNamespace(stderr=terminal.stream))
    monkeypatch.setenv("TERM", "xterm")
    logging.getLogger("afterview").setLevel(logging.INFO)
    yield terminal
    terminal.stream.close()
    os.close(terminal._master)


def showing(live: LiveLines | None, *lines: str) -> None:
    assert live is not None
    live.show(lambda columns: lines)


def test_lines_are_redrawn_in_place_below_the_log_and_erased_at_the_end(terminal: Terminal) -> None:
    write_line("before")
    with live_lines() as live:
        showing(live, "a 1", "b 1")
        assert terminal.lines() == ["before", "a 1", "b 1"]
        showing(live, "a 2", "b 2")
        write_line("first\nof two")
        assert terminal.lines() == ["before", "first", "of two", "a 2", "b 2"]
        showing(live, "a 3")
        assert terminal.lines() == ["before", "first", "of two", "a 3"]
        write_line("x" * 95)  # takes three rows
        showing(live, "a 4", "b 4", "c 4")
        assert terminal.lines()[-4:] == ["x" * 15, "a 4", "b 4", "c 4"]
    write_line("after")
    assert terminal.lines()[-2:] == ["x" * 15, "after"]


def test_lines_scroll_away_only_above_the_live_ones(terminal: Terminal) -> None:
    with live_lines() as live:
        showing(live, "live 1", "live 2")
        for number in range(30):
            write_line(f"log {number}")
        assert terminal.lines() == [*(f"log {number}" for number in range(30)), "live 1", "live 2"]


def test_a_window_that_changes_its_size(terminal: Terminal) -> None:
    with live_lines() as live:
        showing(live, "front door  online  1.0/s  lag 0.2 s", "back")
        assert terminal.lines() == ["front door  online  1.0/s  lag 0.2 s", "back"]
        terminal.resize(20, 10)
        showing(live, "front door  online  1.0/s  lag 0.2 s", "back")
        assert terminal.lines() == ["front door  onli...", "back"]
        terminal.resize(60, 4)
        showing(live, *(f"camera {number}" for number in range(6)))
        assert terminal.lines()[-3:] == ["camera 0", "camera 1", "... and 4 more"]
        terminal.resize(1, 1)
        showing(live, "camera 0", "camera 1")  # no room for anything: no error, and nothing wraps


def test_wide_letters_and_marks_keep_columns_aligned(terminal: Terminal) -> None:
    assert [cells(text) for text in ("door", "前門", "\N{GRINNING FACE}", "e\N{COMBINING ACUTE ACCENT}")] == [
        4,
        4,
        2,
        1,
    ]
    assert (fit("前門カメラ", 7), pad("前門", 6), pad("前門カメラ", 6), fit("door", 2)) == (
        "前門...",
        "前門  ",
        "前... ",
        "..",
    )
    terminal.resize(9, 10)
    with live_lines() as live:
        showing(live, "前門カメラ", "door")
        assert terminal.lines() == ["前門...", "door"]


@pytest.mark.parametrize("name", ["dumb", "", None])
def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    if name is None:
        monkeypatch.delenv("TERM")
    else:
        monkeypatch.setenv("TERM", name)
    with live_lines() as live:
        assert live is None


def test_quiet_shows_no_live_lines(terminal: Terminal) -> None:
    logging.getLogger("afterview").setLevel(logging.WARNING)
    with live_lines() as live:
        assert live is None


def test_log_lines_have_the_local_time_hide_secrets_and_show_no_control_characters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show_logs(0)
    logging.getLogger("afterview.x").info("plain")
    show_times(lambda text: text.replace("hunter2", "***"))
    logging.getLogger("afterview.x").info("%s says hunter2\x1b[2J\x9b", "camera")
    logging.getLogger("afterview.x").error("failed", exc_info=ValueError("hunter2"))
    monkeypatch.setenv("AFTERVIEW_DEBUG", "1")
    logging.getLogger("afterview.x").error("failed", exc_info=ValueError("hunter2"))
    first, *timed = capsys.readouterr().err.splitlines()
    assert first == "plain"
    assert re.fullmatch(STAMP + r"camera says \*\*\*\\x1b\[2J\\x9b", timed[0])
    assert re.fullmatch(STAMP + "failed", timed[1])
    assert timed[3:] == ["ValueError: ***"]
    show_logs(0)
    logging.getLogger("afterview.x").info("plain again")
    assert capsys.readouterr().err == "plain again\n"


def test_a_terminal_that_has_gone_ends_nothing(terminal: Terminal) -> None:
    show_logs(0)
    with live_lines() as live:
        terminal.stream.close()
        showing(live, "a line")
        logging.getLogger("afterview.x").info("a line of the log")
    terminal.stream = open(os.devnull, "w")  # noqa: SIM115 - closed by the fixture


def test_the_rate_is_that_of_the_last_ten_seconds() -> None:
    meter = Meter(1.0, 0.0)
    assert meter.rate() == 0
    for second in range(1, 31):
        meter.observe(second, float(second))
    assert meter.rate() == 1.0
    for second in range(31, 36):
        meter.observe(30, float(second))
    assert meter.rate() == 0.5
    meter.observe(30, 60.0)
    assert meter.rate() == 0.0


def test_lag_is_that_of_the_newest_frame_until_the_next_is_overdue() -> None:
    meter = Meter(1.0, 0.0)
    for second in range(1, 11):
        meter.observe(second, float(second))
    assert meter.lag_s(0.2) == 0.2
    for second in range(11, 31):
        meter.observe(10, float(second))
    assert meter.lag_s(0.2) == 20.0
    assert meter.lag_s(float("nan")) == 20.0
    synced_seldom = Meter(1.0, 0.0, sync_every_s=20.0)
    for second in range(1, 21):
        synced_seldom.observe(0, float(second))
    assert math.isnan(synced_seldom.lag_s(float("nan")))


def row(
    name: str,
    state: str,
    *,
    detail: str = "",
    cause: str | None = None,
    clock: str | None = None,
    recorded: int = 12,
    pictures_damaged: int = 0,
) -> Any:
    address = "rtsp://***@10.0.0.7/live"
    ingest = SimpleNamespace(
        repository=SimpleNamespace(info=new_camera(name, fps=1.0)), config=SimpleNamespace(address=address)
    )
    status = SimpleNamespace(
        state=state, detail=detail, cause=cause, dropped=3, recorded=recorded, lag_s=0.2, upload=None, clock=clock,
        pictures_damaged=pictures_damaged, features_reused=0, progress="",
    )  # fmt: skip
    meter = Meter(1.0, 0.0)
    meter.observe(10, 10.0)
    return ingest, status, meter


def test_a_line_per_camera_has_all_that_matters_in_aligned_columns() -> None:
    rows = [
        row("前門", "online", detail="h264 640x360", clock="source clock rejected: it shows 1970"),
        row("back yard", "offline", detail="rtsp://***@10.0.0.7/live: no answer; next try in 2.0 s", recorded=1234),
        row("c", "failed", cause="rtsp://***@10.0.0.7/live: refused\nand more\x1b[2J"),
        row("a very long name of a camera", "paused", detail="on request"),
        row("lossy", "online", pictures_damaged=4),
    ]
    assert live_rows(rows, 80) == [
        "前門                  online   1.0/s  lag 0.2 s  3 dropped    12 frames  source clock rejected",
        "back yard             offline  1.0/s  lag 0.2 s  3 dropped  1234 frames  no answer; next try in 2.0 s",
        "c                     failed   1.0/s      lag -  3 dropped    12 frames  refused and more\\x1b[2J",
        "a very long name ...  paused   1.0/s      lag -  3 dropped    12 frames  on request",
        "lossy                 online   1.0/s  lag 0.2 s  3 dropped    12 frames  4 with a damaged picture",
    ]
    assert live_rows([], 80) == []


FIRST = r"前門  online   \d\.\d/s +lag .* s +\d+ dropped +[1-9]\d* frames"
SECOND = r"b     offline  0\.0/s  +lag .* +0 dropped +0 frames  cannot be reached: Connection refused.*"


def drawn(screen: Screen, *patterns: str) -> bool:
    """Whether the live lines match, and the cursor is below them."""
    *lines, cursor = screen.shown()[-len(patterns) - 1 :]
    pairs = zip(patterns, lines, strict=True)
    return cursor == "" and len(lines) == len(patterns) and all(re.fullmatch(pattern, line) for pattern, line in pairs)


@pytest.mark.slow  # a process of its own
def test_two_cameras_on_a_terminal_with_a_password_that_only_the_process_knows(tmp_path: Path) -> None:
    secret = "p@ss:w/rd"
    arguments = ["-m", "afterview", "watch", "lavfi:testsrc2=size=160x120:rate=10",
                 "rtsp://guard:{AFTERVIEW_P}@127.0.0.1:1/x", "--keep-trying", "--camera", "前門", "--camera", "b",
                 "--memory", str(tmp_path / "m")]  # fmt: skip
    with TerminalProcess(arguments, {"AFTERVIEW_P": secret, "NO_COLOR": "1"}, columns=120) as watch:
        watch.read_until(lambda screen: drawn(screen, FIRST, SECOND), within_s=120)
        command_line = Path(f"/proc/{watch.pid}/cmdline").read_text()
        watch.resize(60, 24)
        watch.read_until(
            lambda screen: (
                drawn(screen, r"前門  online .*", r"b     offline .*\.\.\.") and cells(screen.shown()[-2]) < 60
            )
        )
        watch.press("\x03")
        assert watch.read_to_end() == 0
    assert "{AFTERVIEW_P}" in command_line
    assert watch.screen.unknown == []
    said = watch.raw.decode()
    for hidden in (secret, "p%40ss"):
        assert hidden not in said + command_line
    for line in ("b: connecting to rtsp://***@127.0.0.1:1/x", "前門: online", "前門: ended (stopped)"):
        assert re.search(STAMP + re.escape(line), said)
    left = [line for line in watch.screen.shown() if re.match(r"(前門|b) +(online|offline|ended) ", line)]
    assert left == []  # the live lines are erased
    assert [
        path for path in (tmp_path / "m").rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
    ] == []
