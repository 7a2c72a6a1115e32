"""Answers and searches as they are saved and opened again: values, and the documents that a memory keeps of them.

A document has a record (what was asked, when and how) and one part per camera (what comes from its frames), so that a part can be erased
with the frames of its camera. memory.format.answer_files has the rules.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeAlias, get_args

from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.errors import DamagedMemory
from afterview.memory.base.records import Gap
from afterview.memory.plans.removal import Removal
from afterview.stream.ask.caption import Caption
from afterview.stream.ask.question import Answer, CameraAnswer, Coverage, Evidence, EvidenceKind, Question, Tokens
from afterview.stream.ask.search import Hit, SearchResult

Images: TypeAlias = Mapping[tuple[str, int], str]  # where the image of a frame was saved, by camera and frame
Document: TypeAlias = dict[str, Any]
Pictures: TypeAlias = Mapping[tuple[str, int], bytes]  # JPEGs, by camera and frame
ReadImage: TypeAlias = Callable[[str, int], bytes]  # the saved image of a camera's frame, or nothing

_FORMAT = 1


@dataclass(frozen=True)
class Origin:
    """When and how something was asked. asked: Unix seconds. options: as they were given. cameras: those of the answer, by id.

    forgotten: by camera, how many frames of the span were forgotten since, and how many of those had been shown. user: who asked a service.
    """

    id: str
    asked: float
    memory: str
    version: str
    options: Mapping[str, Any]
    cameras: Mapping[str, CameraInfo]
    forgotten: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    user: str | None = None

    def to_dict(self) -> Document:
        """The same as JSON."""
        return {
            "id": self.id,
            "asked": self.asked,
            "memory": self.memory,
            "version": self.version,
            "options": dict(self.options),
            "forgotten": {camera: dict(counts) for camera, counts in self.forgotten.items()},
            **({} if self.user is None else {"user": self.user}),
        }


@dataclass(frozen=True)
class AnswerRecord:
    """An answer, and how it was asked."""

    kind = "question"

    about: Origin
    answer: Answer

    @property
    def text(self) -> str:
        """The question."""
        return self.answer.question

    @classmethod
    def of(
        cls,
        answer: Answer,
        question: Question,
        *,
        asked: float,
        memory: Path,
        cameras: Mapping[str, CameraInfo],
        version: str,
        user: str | None = None,
    ) -> "AnswerRecord":
        """asked: Unix seconds. cameras: at least those of the answer, by id. version: of this software. user: of a service."""
        options = question.to_dict()
        del options["text"]
        own = {part.coverage.camera: cameras[part.coverage.camera] for part in answer.parts}
        return cls(Origin(answer.id, asked, str(memory), version, options, own, user=user), answer)

    @property
    def pictures(self) -> Pictures:
        """The images of the evidence."""
        return {(item.camera, item.frame): item.image for item in self.answer.evidence if item.image}

    def shown(self, camera: str) -> list[int]:
        """The frames of a camera that it names."""
        return [item.frame for item in self.answer.evidence if item.camera == camera]

    def to_dict(self, images: Images) -> Document:
        """As JSON."""
        return {**self.answer.to_dict(images), **self.about.to_dict()}

    def documents(self) -> tuple[Document, dict[str, Document]]:
        """What is saved: the record, and the parts by camera. `removed` of a part: frames of its span that the answer never saw."""
        answer = self.answer
        record = {
            **_record(self),
            "declined": answer.text if answer.declined else None,
            "finds_only": answer.finds_only,
            "notice": answer.notice,
            "skipped": answer.skipped,
            "total_s": answer.total_s,
        }
        parts = {}
        for part in answer.parts:
            camera = part.coverage.camera
            first, end = _frames(part.provenance)
            parts[camera] = {
                "frames": [first, end],
                "removed": [[gone.first, gone.end] for gone in part.coverage.removed],
                **part.to_dict(),
                "camera": asdict(self.about.cameras[camera]),
                "evidence": [item.to_dict() for item in part.evidence],
            }
        return record, parts


@dataclass(frozen=True)
class SearchRecord:
    """What a search found, and how it was asked. pictures: of the best hits."""

    kind = "search"

    about: Origin
    result: SearchResult
    pictures: Pictures

    @property
    def text(self) -> str:
        """What was searched for."""
        return self.result.text

    def shown(self, camera: str) -> list[int]:
        """The frames of a camera that it names."""
        return [hit.frame for hit in self.result.hits if hit.camera == camera]

    def to_dict(self, images: Images) -> Document:
        """As JSON."""
        hits = [{**hit.to_dict(), "image": images.get((hit.camera, hit.frame))} for hit in self.result.hits]
        return {**self.result.to_dict(), "hits": hits, **self.about.to_dict()}

    def documents(self) -> tuple[Document, dict[str, Document]]:
        """What is saved: the record, and the parts by camera."""
        result = self.result
        record = {
            **_record(self),
            "exact": result.exact,
            "notice": result.notice,
            "skipped": result.skipped,
            "stale": result.stale,
            "asked_index": result.asked and asdict(result.asked),
        }
        parts = {
            camera: {
                "camera": asdict(info),
                "hits": [hit.to_dict() for hit in result.hits if hit.camera == camera],
            }
            for camera, info in self.about.cameras.items()
        }
        return record, parts


Record: TypeAlias = AnswerRecord | SearchRecord


def opened(where: str, record: Document, parts: Mapping[str, Document], image: ReadImage) -> Record:
    """The inverse of `documents`. Raises DamagedMemory for anything else."""
    try:
        if record["format"] != _FORMAT:
            raise ValueError(f"format {record['format']}")
        cameras = {camera: CameraInfo(**part["camera"]) for camera, part in parts.items()}
        about = Origin(
            record["id"], float(record["asked"]), record["memory"], record["version"], record["options"], cameras,
            {camera: part["forgotten"] for camera, part in parts.items() if part.get("forgotten")}, record.get("user"),
        )  # fmt: skip
        return (
            _answer(about, record, parts, image)
            if record["kind"] == "question"
            else _search(about, record, parts, image)
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DamagedMemory(
            f"{where}: not a saved answer that this version reads ({error}); delete it with `afterview answers ID --delete`"
        ) from None


def _record(record: Record) -> Document:
    document = record.about.to_dict()
    del document["forgotten"]
    return {
        "format": _FORMAT,
        "kind": record.kind,
        "text": record.text,
        **document,
        "cameras": list(record.about.cameras),
    }


def _frames(provenance: Mapping[str, Any]) -> tuple[int, int]:
    return int(provenance["first_frame"]), int(provenance["last_frame"]) + 1


def _answer(about: Origin, record: Document, parts: Mapping[str, Document], image: ReadImage) -> AnswerRecord:
    answers = tuple(_part(camera, part, image) for camera, part in parts.items())
    texts = [(part.text, part.coverage.camera) for part in answers]
    whole = "\n".join(f"{camera}: {text}" if len(texts) > 1 else text for text, camera in texts)
    declined = record["declined"]
    answer = Answer(
        about.id, record["text"], whole if declined is None else declined, answers, record["notice"], record["skipped"],
        record["total_s"], declined=declined is not None, finds_only=bool(record.get("finds_only", False)),
    )  # fmt: skip
    return AnswerRecord(about, answer)


def _part(camera: str, part: Document, image: ReadImage) -> CameraAnswer:
    text = part["answer"]
    return CameraAnswer(
        "(deleted: frames of its span were forgotten on request)" if text is None else text,
        part["why"],
        tuple(
            Evidence(
                camera,
                item["frame"],
                item["time"],
                item["weight"],
                image(camera, item["frame"]),
                item.get("picture_damaged", False),
            )
            for item in part["evidence"]
        ),
        _coverage(camera, part["coverage"]),
        part["provenance"],
        part["timing"],
        Tokens(**part["tokens"]) if part.get("tokens") else None,
        _kind(part),
    )


def _kind(part: Document) -> EvidenceKind | None:
    """Where the evidence comes from; earlier versions did not say, except that a model of the user's own answered."""
    kind = part.get("evidence_kind", "index" if "answered_by" in part["provenance"] else None)
    if kind not in (None, *get_args(EvidenceKind)):
        raise ValueError(f"evidence_kind {kind}")
    return kind


def _coverage(camera: str, values: Document) -> Coverage:
    gaps = tuple(
        Gap(gap["start"], math.nan if gap["end"] is None else gap["end"], gap["reason"], -1) for gap in values["gaps"]
    )
    removed = tuple(
        Removal(
            gone["first_frame"], gone["first_frame"] + gone["frames"], gone["start"], gone["end"], gone["reason"],
            gone["removed_at"], erased=True,
        )
        for gone in values["no_longer_remembered"]
    )  # fmt: skip
    known = {one.name: values[one.name] for one in fields(Coverage) if one.name in values}
    return Coverage(**{**known, "camera": camera, "gaps": gaps, "removed": removed})


def _search(about: Origin, record: Document, parts: Mapping[str, Document], image: ReadImage) -> SearchRecord:
    hits = [
        Hit(
            camera,
            hit["frame"],
            hit["time"],
            hit["score"],
            about.cameras[camera].iso(hit["time"]),
            picture_damaged=hit.get("picture_damaged", False),
        )
        for camera, part in parts.items()
        for hit in part["hits"]
    ]
    hits.sort(key=lambda hit: (-hit.score, hit.camera, hit.frame))
    pictures = {(hit.camera, hit.frame): image(hit.camera, hit.frame) for hit in hits}
    result = SearchResult(
        record["text"], tuple(hits), record["exact"], record["skipped"], record["stale"], record["notice"],
        Caption(**record["asked_index"]) if record.get("asked_index") else None,
    )  # fmt: skip
    return SearchRecord(about, result, {key: data for key, data in pictures.items() if data})
