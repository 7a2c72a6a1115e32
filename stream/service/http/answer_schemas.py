"""The shape of an answer in responses."""

from typing import Any

from pydantic import Field

from afterview.stream.ask.question import EvidenceKind
from afterview.stream.service.http.schemas import Response


class EvidenceDocument(Response):
    """A frame that the answer rests on. weight: by `evidence_kind`, its share of the model's attention, or its similarity in the index."""

    camera: str
    frame: int
    time: float
    weight: float
    image: str | None = Field(description="Path of its picture in this API.")


class AnswerDocument(Response):
    """An answer with its evidence, coverage and provenance, as `afterview ask --json` prints it."""

    id: str
    question: str
    answer: str
    declined: bool
    finds_only: bool = Field(description="Whether the model only finds frames: this is no answer.")
    evidence_kind: EvidenceKind | None = Field(description="Null if declined, or saved by an earlier version.")
    evidence: list[EvidenceDocument]
    coverage: dict[str, Any] | None = Field(description="What the first camera's answer could know.")
    cameras: list[dict[str, Any]] = Field(description="Answer, coverage, provenance and timing of each camera.")
    skipped: dict[str, str]
    timing: dict[str, float]
    notes: list[str] = Field(description="What does not work as it should: a camera that is down, dropped frames.")
