"""What is in a run: its rows, and its statistics."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from afterview.configs import UsageError
from afterview.training.marathon.rows import Checked
from afterview.training.marathon.stages.files import DataSet
from afterview.training.marathon.stages.stage import NAMES, VIDEOS
from afterview.training.marathon.statistics import Statistics


def rows_of(out: Path, stage: str, video: str | None = None, *, rejected: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of a stage as they are stored, in order. Raises UsageError."""
    if stage not in NAMES:
        raise UsageError(f"--stage {stage}: no such stage; there are: {', '.join(NAMES)}")
    if rejected and stage != "checks":
        raise UsageError("--rejected: only the stage checks rejects; give --stage checks")
    data = _opened(out)
    if data.provenance(stage) is None:
        raise UsageError(f"{out}: stage {stage} has not begun; `afterview marathon stages {out}` shows what is done")
    for row in data.rows(stage):
        if (video is None or row.video == video) and not (rejected and not (isinstance(row, Checked) and row.reasons)):
            yield row.model_dump(mode="json")


def statistics_of(out: Path) -> dict[str, Any]:
    """Statistics of what is there."""
    return Statistics.of(_opened(out)).to_dict()


def _opened(out: Path) -> DataSet:
    data = DataSet(out)
    if data.provenance(VIDEOS) is None:
        raise UsageError(
            f"{out}: holds no run; begin one with `afterview marathon run CONFIG --videos DIR --out {out}`"
        )
    return data
