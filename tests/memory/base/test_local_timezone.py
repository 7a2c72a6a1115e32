"""The zone of this machine: the variable TZ counts, and a zone without a name is never silently another one."""

import json
import logging
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from afterview.cli.main import main
from afterview.configs import UsageError
from afterview.memory.base import camera
from afterview.memory.base.camera import local_timezone, read_camera
from tests.support.clips import make_clip


@pytest.mark.parametrize(
    ("variable", "zone"),
    [
        ("Europe/Paris", "Europe/Paris"),
        (":Europe/Paris", "Europe/Paris"),
        ("/usr/share/zoneinfo/Asia/Tokyo", "Asia/Tokyo"),
        ("UTC", "UTC"),
        ("UTC0", "UTC"),
        ("", "UTC"),
    ],
)
def test_the_variable_decides(variable: str, zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", variable)
    assert local_timezone() == zone


@pytest.mark.parametrize("variable", ["CET-1CEST", "UTC+3", "<+03>-3", "Mars/Base", "../../etc/passwd", "/etc/passwd"])
def test_a_variable_that_names_no_zone_is_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", variable)
    with pytest.raises(UsageError, match="no IANA time zone; set TZ to a name such as Europe/Paris"):
        local_timezone()


def test_without_the_variable_the_machine_s_setting_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("TZ", raising=False)
    link, copy, name = tmp_path / "link", tmp_path / "copy", tmp_path / "timezone"
    link.symlink_to("/usr/share/zoneinfo/Europe/Paris")
    copy.write_bytes(b"TZif2")
    monkeypatch.setattr(camera, "_TIMEZONE", name)
    with caplog.at_level(logging.WARNING):
        for path, text, zone in (
            (link, None, "Europe/Paris"),
            (tmp_path / "none", None, "UTC"),
            (copy, "Asia/Tokyo\n", "Asia/Tokyo"),
        ):
            monkeypatch.setattr(camera, "_LOCALTIME", path)
            if text:
                name.write_text(text)
            assert local_timezone() == zone
        assert not caplog.messages
        name.unlink()
        assert local_timezone() == "UTC"
    assert "has no name; UTC is used" in caplog.text


def test_a_new_camera_has_the_variable_s_zone_and_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, memory = make_clip(tmp_path / "clip.mp4", frames=3), tmp_path / "memory"
    replay = ["replay", str(clip), "--memory", str(memory), "--camera", "yard"]
    monkeypatch.setenv("TZ", "CET-1CEST")
    assert main(replay) == 2
    assert "CET-1CEST" in capsys.readouterr().err
    assert not memory.exists()
    monkeypatch.setenv("TZ", "Europe/Paris")
    assert main([*replay, "--start", "2026-11-20 08:00"]) == 0
    assert read_camera(memory / "yard").timezone == "Europe/Paris"
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert main([*replay, "--start", "2026-11-20 08:01"]) == 0  # in the camera's zone, not in this shell's
    assert main([*replay, "--start", "2026-11-20 08:02", "--timezone", "Asia/Tokyo"]) == 2
    assert "camera 'yard' has the time zone Europe/Paris, which cannot change" in capsys.readouterr().err
    assert main(["info", str(memory), "--json"]) == 0
    (yard,) = json.loads(capsys.readouterr().out)["cameras"]
    assert yard["last_time"] == datetime(2026, 11, 20, 8, 1, tzinfo=ZoneInfo("Europe/Paris")).timestamp()
