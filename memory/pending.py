"""Frames that are in the journal but not sealed yet: how they are written there and read back."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from memory.errors import DamagedMemory
from memory.journal import Record
from memory.records import FrameRecord, Gap, GapReason, TimeBasis
from memory.spec import FeatureSpec


@dataclass
class Pending:
    """What a journal holds beyond the sealed frames. `first` is the id of frames[0]."""

    first: int
    frames: list[FrameRecord] = field(default_factory=list)
    crcs: list[int] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    open_gap: Gap | None = None  # an outage that lasts: it has no frame after it yet

    @property
    def end(self) -> int:
        """The id that the next frame gets."""
        return self.first + len(self.frames)


def frame_record(frame_id: int, frame: FrameRecord) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Header and parts of a frame's journal record."""
    header = {
        "type": "frame",
        "id": frame_id,
        "time": frame.time,
        "arrival": frame.arrival_time,
        "source": None if math.isnan(frame.source_time) else frame.source_time,
        "basis": int(frame.time_basis),
    }
    parts = {"image": frame.image, "embedding": frame.embedding.tobytes(), "tokens": frame.tokens.tobytes()}
    return header, parts


def gap_record(gap: Gap) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Header and parts of a gap's journal record; an open gap has no end."""
    end = None if math.isnan(gap.end) else gap.end
    return {"type": "gap", "start": gap.start, "end": end, "reason": gap.reason, "before": gap.before_frame}, {}


def restore(
    records: Iterable[Record], spec: FeatureSpec, *, sealed: int, sealed_gaps_before: int, where: Path
) -> Pending:
    """Rebuild what is pending from a journal's records.

    sealed: frames already sealed; their records, left by a crash between a seal and the journal's renewal, are passed over,
    and so are gaps before them (`sealed_gaps_before` is the id of the newest frame with a sealed gap before it, or -1).
    Raises DamagedMemory when a frame is missing between them.
    """
    pending = Pending(sealed)
    for record in records:
        header = record.header
        if header["type"] == "frame" and header["id"] >= sealed:
            if header["id"] != pending.end:
                raise DamagedMemory(f"{where}: expected frame {pending.end} next, found frame {header['id']}")
            pending.frames.append(_frame(header, record.parts, spec))
            pending.crcs.append(record.crc)
        elif header["type"] == "gap":
            _restore_gap(pending, header, sealed_gaps_before)
    return pending


def _restore_gap(pending: Pending, header: Mapping[str, Any], sealed_gaps_before: int) -> None:
    reason: GapReason = header["reason"]
    if header["end"] is None:
        pending.open_gap = Gap(header["start"], math.nan, reason, -1)
        return
    pending.open_gap = None
    if header["before"] > sealed_gaps_before:
        pending.gaps.append(Gap(header["start"], header["end"], reason, header["before"]))


def _frame(header: Mapping[str, Any], parts: Mapping[str, bytes], spec: FeatureSpec) -> FrameRecord:
    tokens = np.frombuffer(parts["tokens"], dtype=spec.tokens.dtype)
    return FrameRecord(
        time=header["time"],
        arrival_time=header["arrival"],
        source_time=math.nan if header["source"] is None else header["source"],
        time_basis=TimeBasis(header["basis"]),
        image=parts["image"],
        tokens=tokens.reshape(spec.tokens.tokens_per_frame, spec.tokens.width),
        embedding=np.frombuffer(parts["embedding"], dtype=np.float32),
    )
