"""An answer as JSON and as text for people, and its evidence as files."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afterview.cli.output.documents import describe_gap, describe_time_basis, printable
from afterview.memory.base.camera import ANSWERS, CameraInfo
from afterview.memory.base.typed_times import spell_duration
from afterview.stream.ask.span import describe_removal

if TYPE_CHECKING:
    from afterview.stream.ask.question import Answer, CameraAnswer, Coverage


def save_evidence(answer: "Answer", memory: Path) -> dict[tuple[str, int], str]:
    """Write each evidence frame as a JPEG; returns the path of each (camera, frame).

    They go beside the cameras, into `answers/ID/` of the memory, or into a temporary directory where that cannot be written.
    """
    if not answer.evidence:
        return {}
    directory = memory / ANSWERS / answer.id
    try:
        directory.mkdir(parents=True, exist_ok=True)
        writable = os.access(directory, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        directory = Path(tempfile.mkdtemp(prefix=f"afterview-{answer.id}-"))
    paths = {}
    for item in answer.evidence:
        path = directory / f"{item.camera}-{item.frame}.jpg"
        path.write_bytes(item.image)
        paths[item.camera, item.frame] = str(path)
    return paths


def answer_document(answer: "Answer", images: dict[tuple[str, int], str]) -> dict[str, Any]:
    """The answer as JSON. `coverage` and `provenance` are the first camera's; `cameras` has those of every one that was asked, and
    why it was; `skipped` has those that were not, and why not."""
    first = answer.parts[0]
    document: dict[str, Any] = {
        "id": answer.id,
        "question": answer.question,
        "answer": answer.text,
        "notice": answer.notice,
        "evidence": [
            {
                "camera": item.camera,
                "frame": item.frame,
                "time": item.time,
                "weight": round(item.weight, 6),
                "image": images.get((item.camera, item.frame)),
            }
            for item in answer.evidence
        ],
        "coverage": _coverage(first.coverage),
        "provenance": first.provenance,
        "timing": {name: round(value, 4) for name, value in {**first.timing, "total_s": answer.total_s}.items()},
    }
    document["cameras"] = [_camera(part) for part in answer.parts]
    document["skipped"] = answer.skipped
    return document


def _camera(part: "CameraAnswer") -> dict[str, Any]:
    return {
        "camera": part.coverage.camera,
        "why": part.why,
        "answer": part.text,
        "coverage": _coverage(part.coverage),
        "provenance": part.provenance,
        "timing": {name: round(value, 4) for name, value in part.timing.items()},
    }


def _coverage(coverage: "Coverage") -> dict[str, Any]:
    return {
        "camera": coverage.camera,
        "frames": coverage.frames,
        "first_time": coverage.first_time,
        "last_time": coverage.last_time,
        "gaps": [gap.to_dict() for gap in coverage.gaps],
        "no_longer_remembered": [gone.to_dict() for gone in coverage.removed],
        "damaged": coverage.damaged,
        "unreachable": coverage.unreachable,
        "lag_s": round(coverage.lag_s, 3),
        "time_basis": coverage.time_basis,
        "recall": coverage.recall,
        "search": coverage.search,
        "recalled": coverage.recalled,
        "visible": coverage.visible,
        "positions": coverage.positions,
    }


def print_answer(
    answer: "Answer", images: dict[tuple[str, int], str], zones: dict[str, CameraInfo], *, text: bool = True
) -> None:
    """The answer for a person: text, evidence, coverage, each time in its camera's zone. `text` False where it was streamed."""
    if text:
        print(printable(answer.text) or "(the model said nothing)")
    if answer.notice:
        print(f"\nnote: {answer.notice}")
    if answer.evidence:
        print("\nevidence")
    for item in answer.evidence:
        when = zones[item.camera].show(item.time)
        image = images.get((item.camera, item.frame), "")
        print(f"  {item.camera}  {when}  frame {item.frame:<7} weight {item.weight:.3f}  {image}")
    print("\ncoverage")
    for part in answer.parts:
        _print_coverage(part.coverage, zones[part.coverage.camera])
        if len(zones) > 1:
            print(f"    asked because {part.why}")
    for name, why in answer.skipped.items():
        print(f"  {name}: not asked: {why}")
    first_s = min(part.timing["first_token_s"] for part in answer.parts)
    print(f"\nfirst token after {first_s:.2f} s, all of it after {answer.total_s:.2f} s; answer {answer.id}")


def _print_coverage(coverage: "Coverage", info: CameraInfo) -> None:
    first, last = info.show(coverage.first_time), info.show(coverage.last_time)
    length = spell_duration(coverage.last_time - coverage.first_time + 1 / info.fps)
    attended = "all of them" if coverage.recall == "full" else f"{coverage.recalled} of them (bounded recall)"
    if coverage.search == "approximate":
        attended += ", found by an approximate search: asked again as of the same moment, others may be found"
    print(f"  {coverage.camera}: {coverage.frames} frames, {first} to {last} ({length})")
    print(f"    attended to {attended}; newest frame {spell_duration(coverage.lag_s)} before the moment asked about")
    print(f"    times are {describe_time_basis(coverage.time_basis)}")
    for gap in coverage.gaps:
        print(f"    gap: {describe_gap(gap, info)}")
    for gone in coverage.removed:
        print(f"    {describe_removal(gone, info)}")
    if coverage.damaged:
        print(f"    {coverage.damaged} frames could not be read and were left out; `afterview fsck` says what is wrong")
    if coverage.unreachable:
        print(
            f"    {coverage.unreachable} frames lie on the memory's store, which does not answer, and were left out; "
            "`afterview store status` says more"
        )
