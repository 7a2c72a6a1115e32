"""Frames that are in the journal but not sealed: how they are written and read back."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.feature_spec import FeatureSpec, TokenSpec
from afterview.memory.base.int8_tokens import Codes, dequantise
from afterview.memory.base.records import SEAL_FRAMES, FrameRecord, Gap, GapReason, TimeBasis
from afterview.memory.format.journal import Entry, Record
from afterview.memory.plans.clip_marks import LOOSE, torn_frames


@dataclass
class Unsealed:
    """What a journal holds after the sealed frames. `first` is the id of frames[0]."""

    first: int
    frames: list[FrameRecord] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    open_gap: Gap | None = None  # a lasting outage: no frame follows it yet

    @property
    def end(self) -> int:
        """The id that the next frame gets."""
        return self.first + len(self.frames)

    @property
    def torn(self) -> int:
        """How many of the newest frames belong to a clip that is not complete."""
        return torn_frames([frame.clip or LOOSE for frame in self.frames[-SEAL_FRAMES:]])

    def add_gap(self, gap: Gap) -> None:
        """Add a gap before the next frame. It replaces one whose frame could not be written."""
        if self.gaps and self.gaps[-1].before_frame == gap.before_frame:
            self.gaps.pop()
        self.gaps.append(gap)
        self.open_gap = None

    def entries(self) -> list[Entry]:
        """Journal entries of all frames and gaps, in order."""
        entries = [frame_record(self.first + row, frame) for row, frame in enumerate(self.frames)]
        for gap in reversed(self.gaps):
            entries.insert(max(0, gap.before_frame - self.first), gap_record(gap))
        if self.open_gap:
            entries.append(gap_record(self.open_gap))
        return entries


def frame_record(frame_id: int, frame: FrameRecord) -> Entry:
    """Header and parts of a frame's journal record."""
    header = {
        "type": "frame",
        "id": frame_id,
        "time": frame.time,
        "arrival": frame.arrival_time,
        "source": None if math.isnan(frame.source_time) else frame.source_time,
        "basis": int(frame.time_basis),
        **({"picture_damaged": True} if frame.picture_damaged else {}),
    }
    stored = {name: rows.tobytes() for name, rows in frame.stored.items()}
    return header, {"image": frame.image, "embedding": frame.embedding.tobytes(), **stored}


def gap_record(gap: Gap) -> Entry:
    """Header and parts of a gap's journal record; an open gap has no end."""
    end = None if math.isnan(gap.end) else gap.end
    return {"type": "gap", "start": gap.start, "end": end, "reason": gap.reason, "before": gap.before_frame}, {}


def restore(records: Iterable[Record], spec: FeatureSpec, *, sealed: int, sealed_gaps_before: int) -> Unsealed:
    """Rebuild the unsealed frames from a journal's records.

    sealed: number of sealed frames. A crash between a seal and the journal's replacement leaves their records; these are skipped,
    and so are gaps before them (`sealed_gaps_before` is the id of the newest frame with a sealed gap before it, or -1).
    Frames that are missing between others because of damage are blank, and their time is NaN.
    """
    unsealed = Unsealed(sealed)
    for record in records:
        header = record.header
        if header["type"] == "frame" and header["id"] >= unsealed.end:
            while unsealed.end < header["id"]:
                unsealed.frames.append(blank_frame(spec, time=math.nan))
            unsealed.frames.append(_frame(header, record.parts, spec))
        elif header["type"] == "gap":
            _restore_gap(unsealed, header, sealed_gaps_before)
    if unsealed.gaps and unsealed.gaps[-1].before_frame >= unsealed.end:
        last = unsealed.gaps.pop()  # the frame that should end it is missing
        unsealed.open_gap = Gap(last.start, math.nan, last.reason, -1)
    return unsealed


def blank_frame(spec: FeatureSpec, *, time: float) -> FrameRecord:
    """A frame without content: no image, all features zero. It keeps its place."""
    tokens = spec.tokens
    frame = FrameRecord(
        time=time,
        arrival_time=time,
        image=b"",
        tokens=np.zeros((tokens.tokens_per_frame, tokens.width), dtype=tokens.dtype),
        embedding=np.zeros(spec.index.width, dtype=np.float32),
        clip=LOOSE if tokens.clip_marks else None,
    )
    return frame.stored_as(tokens.storage)


def _restore_gap(unsealed: Unsealed, header: Mapping[str, Any], sealed_gaps_before: int) -> None:
    reason: GapReason = header["reason"]
    if header["end"] is None:
        unsealed.open_gap = Gap(header["start"], math.nan, reason, -1)
        return
    unsealed.open_gap = None
    if header["before"] > sealed_gaps_before:
        unsealed.add_gap(Gap(header["start"], header["end"], reason, header["before"]))


def _frame(header: Mapping[str, Any], parts: Mapping[str, bytes], spec: FeatureSpec) -> FrameRecord:
    tokens, codes = _tokens(parts, spec.tokens)
    return FrameRecord(
        time=header["time"],
        arrival_time=header["arrival"],
        source_time=math.nan if header["source"] is None else header["source"],
        time_basis=TimeBasis(header["basis"]),
        image=parts["image"],
        tokens=tokens,
        embedding=np.frombuffer(parts["embedding"], dtype=np.float32),
        codes=codes,
        picture_damaged=bool(header.get("picture_damaged", False)),
        clip=parts["clips"][0] if spec.tokens.clip_marks else None,
    )


def _tokens(parts: Mapping[str, bytes], spec: TokenSpec) -> tuple[NDArray[np.floating], Codes | None]:
    """A journal record's tokens, and the codes if the memory stores codes."""
    shape = (spec.tokens_per_frame, spec.width)
    if spec.storage == "float16":
        return np.frombuffer(parts["tokens"], dtype=spec.dtype).reshape(shape), None
    scales = np.frombuffer(parts["scales"], dtype=np.float16)
    codes = Codes(np.frombuffer(parts["tokens"], dtype=np.int8).reshape(shape), scales)
    return dequantise(codes), codes
