"""`replay` of many files: order, gaps, overlaps, broken files, and what is there already."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from afterview.cli.main import main
from afterview.memory.directory import Memory
from tests.support.archives import write_recording

START = datetime(2024, 5, 1, 13, 5, 0, tzinfo=UTC).timestamp()


def replay(capsys: pytest.CaptureFixture[str], memory: Path, *arguments: object) -> tuple[int, dict[str, Any], str]:
    """Exit status, the JSON document, standard error."""
    capsys.readouterr()
    status = main(
        ["replay", *map(str, arguments), "--memory", str(memory), "--timezone", "UTC", "--camera", "front", "--json"]
    )
    out, error = capsys.readouterr()
    return status, json.loads(out) if out else {}, error


def times(memory: Path) -> list[float]:
    return [time - START for time in Memory(memory).camera("front").snapshot().times.tolist()]


def states(document: dict[str, Any]) -> dict[str, str]:
    return {Path(file["file"]).name: file["state"] for file in document["files"]}


def frigate(folder: Path, minute: int, second: int, *, camera: str = "front", seconds: float = 4.0) -> Path:
    return write_recording(
        folder / "2024-05-01" / "13" / camera / f"{minute:02}.{second:02}.mp4",
        seconds=seconds,
        first=60 * minute + second,
    )


def test_a_folder_is_recorded_in_order_of_time_with_its_gaps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nvr = tmp_path / "nvr"
    for minute, second in ((5, 4), (5, 0), (6, 0)):
        frigate(nvr, minute, second)
    (nvr / "notes.txt").write_text("x")
    status, document, error = replay(capsys, tmp_path / "m", nvr)
    assert status == 0, error
    assert times(tmp_path / "m") == [*range(8), *range(60, 64)]
    gaps = Memory(tmp_path / "m").camera("front").snapshot().gaps
    assert [(gap.start - START, gap.end - START, gap.reason) for gap in gaps] == [(7, 60, "not recording")]
    assert [(file["recorded"], file["clock"], file["start"]) for file in document["files"]] == [
        (4, "name", START), (4, "name", START + 4), (4, "name", START + 60)
    ]  # fmt: skip
    assert [Path(path).name for path in document["left_out"]] == ["notes.txt"]
    assert "notes.txt" in error

    status, document, _ = replay(capsys, tmp_path / "m", nvr)
    assert (status, set(states(document).values()), document["recorded"]) == (0, {"present"}, 0)
    frigate(nvr, 6, 4)
    status, document, _ = replay(capsys, tmp_path / "m", nvr)
    assert (status, states(document)["06.04.mp4"], document["recorded"]) == (0, "recorded", 4)
    assert times(tmp_path / "m")[-5:] == [63, 64, 65, 66, 67]
    assert len(Memory(tmp_path / "m").camera("front").snapshot().gaps) == 1
