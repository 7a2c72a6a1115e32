"""Output of the demo: status lines, one JSON document, and a contact sheet per answer."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.counts import percent
from afterview.memory.base.typed_times import spell_duration
from afterview.stream.contact_sheet import SheetFrame, SheetRow, SheetText, draw_sheet
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.evaluation.judge import is_right, says_not_seen
from afterview.training.evaluation.quiz import Put
from afterview.training.world import World

if TYPE_CHECKING:
    from afterview.stream.ask.question import Answer, Evidence
    from afterview.stream.ingest.camera import CameraIngest

LEAST_WEIGHT = 0.01  # of a frame that is shown as evidence
_LONGEST_ANSWER = 60  # characters; an untrained model may generate long text


@dataclass(frozen=True)
class Show:
    """Values that the steps of the demo share. quiet: write status lines to standard error, because standard output is for JSON.

    progress: how long work is shown (training.base.progress).
    """

    directory: Path
    world: World
    quiz: list[Put]
    live_s: float  # seconds of the story before the live part
    quiet: bool = False
    progress: ShowProgress = unseen

    @property
    def memory(self) -> Path:
        """Directory of the memory."""
        return self.directory / "memory"

    def say(self, text: str = "") -> None:
        """Print a status line."""
        print(text, file=sys.stderr if self.quiet else sys.stdout, flush=True)


@dataclass(frozen=True)
class Asked:
    """A question with its answer. put_at: Unix time of the newest frame when the question was asked."""

    number: int
    put: Put
    answer: "Answer"
    put_at: float
    images: dict[tuple[str, int], str]  # paths of the evidence images, by camera and frame
    sheet: Path

    @property
    def right(self) -> bool:
        """Whether the answer is right as of the time asked about."""
        return is_right(self.put.question, self.answer.text)


def write_sheet(put: Put, answer: "Answer", info: CameraInfo, at: float, path: Path) -> str:
    """Write the contact sheet of an answer; returns a note, or nothing. at: Unix time that the question is about."""
    shown = _weighty(answer)
    frames = [
        SheetFrame(
            item.image, info.show(item.time), item.camera, percent(item.weight), item.weight,
            "this image cannot be read", badge=str(rank),
        )
        for rank, item in enumerate(shown, 1)
    ]  # fmt: skip
    ago = put.put_s - put.question.at_s
    before = f", {spell_duration(ago)} before the question" if ago >= 1 else ""
    header: list[SheetText | SheetRow] = [
        SheetText(put.question.text, "title"),
        SheetRow("answer", printable(answer.text), "result", right=is_right(put.question, answer.text)),
        SheetRow("truth", put.question.answer),
        SheetRow("as of", f"{info.show(at)}{before}"),
        SheetText(_describe_frames(answer, len(shown)), "small"),
    ]
    sheet = draw_sheet(frames, header, [SheetText(answer.notice or "", "small")])
    path.write_bytes(sheet.data)
    return sheet.note


def _weighty(answer: "Answer") -> "list[Evidence]":
    """The evidence that counts: frames of less weight look like any other."""
    return [item for item in answer.evidence if item.weight >= LEAST_WEIGHT]


def _describe_frames(answer: "Answer", shown: int) -> str:
    """What the frames of a sheet are, or why there are none."""
    if answer.declined:
        return "The model does not know such questions, so it looked at no frame."
    if not shown:
        return f"There is no evidence: no frame has {LEAST_WEIGHT:.0%} of the model's attention."
    if says_not_seen(answer.text):
        return (
            "It was not found. These are the frames that the model looked at most, with their share of its attention:"
        )
    return "The evidence: the frames with their share of the model's attention:"


def tell(show: Show, asked: Asked, info: CameraInfo) -> None:
    """Print one question with answer, truth, evidence and coverage. Times are in the camera's zone."""
    question, answer = asked.put.question, asked.answer
    ago = asked.put.put_s - question.at_s
    before = f", as of {spell_duration(ago)} earlier" if ago >= 1 else ""
    proof = ", ".join(f"{info.show_clock(item.time)} ({item.weight:.2f})" for item in _weighty(answer)[:3])
    clock = info.show_clock(asked.put_at)
    margin = " " * len(f"   {clock}  ")
    show.say(f"\n   {clock}  question {asked.number}{before}: {question.text}")
    show.say(
        f"{margin}answer: {printable(answer.text)}   truth: {question.answer}   {'right' if asked.right else 'wrong'}\n"
        f"{margin}evidence: {proof or 'none'}   {asked.sheet.name}\n"
        f"{margin}{_describe_coverage(answer, info)}; took {answer.total_s:.1f} s"
    )


def _describe_coverage(answer: "Answer", info: CameraInfo) -> str:
    if answer.declined:
        return "declined: the model does not know such questions"
    coverage = answer.parts[0].coverage
    attended = "all of them" if coverage.recall == "full" else f"{coverage.recalled} of them"
    return f"coverage: {coverage.frames} frames until {info.show_clock(coverage.last_time)}, attended to {attended}"


def tell_score(show: Show, asked: list[Asked], ingest: "CameraIngest", seconds: float) -> None:
    """Print the score, the statistics of the live part, and what to try next."""
    stats = ingest.stats
    show.say(f"\n{sum(one.right for one in asked)} of {len(asked)} right")
    if notice := next((one.answer.notice for one in asked if one.answer.notice), None):
        show.say(f"note: {notice}")
    show.say(
        f"\n{stats.recorded} live frames, {ingest.inbox.dropped} dropped, "
        f"each durable {stats.median_latency():.2f} s after it arrived (median)"
    )
    show.say(f"Done in {seconds:.0f} s. Evidence as pictures: {show.directory}/evidence-*.png")
    show.say("The memory is kept. Ask it more:")
    command = "afterview" if shutil.which("afterview") else ".venv/bin/afterview"  # `make` installs it there
    show.say(f'   {command} ask "Did you see a red ring?" --memory {show.memory}')
    show.say(f"   {command} info {show.memory}")


def document(show: Show, asked: list[Asked], ingest: "CameraIngest", seconds: float) -> dict[str, Any]:
    """Return the JSON document of the demo."""
    return {
        "memory": str(show.memory),
        "seed": show.world.script.seed,
        "right": sum(one.right for one in asked),
        "asked": len(asked),
        "questions": [
            {
                "kind": one.put.question.kind,
                "truth": one.put.question.answer,
                "right": one.right,
                "put_s": one.put.put_s,
                "as_of_s": one.put.question.at_s,
                "contact_sheet": str(one.sheet),
                **one.answer.to_dict(one.images),
            }
            for one in asked
        ],
        "live": {
            "recorded": ingest.stats.recorded,
            "dropped": ingest.inbox.dropped,
            "median_latency_s": round(ingest.stats.median_latency(), 3),
        },
        "seconds": round(seconds, 1),
    }


def printable(text: str) -> str:
    """Make generated text fit one line: replace unprintable characters, and shorten it."""
    shown = "".join(sign if sign.isprintable() else "." for sign in text)
    return (shown if len(shown) <= _LONGEST_ANSWER else shown[: _LONGEST_ANSWER - 3] + "...") or "(no words)"
