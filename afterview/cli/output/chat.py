"""Answers of a chat, in short: for a person on a terminal, and as one line."""

from afterview.cli.output.answers import by_reason, damage_of, split_evidence
from afterview.cli.output.documents import printable
from afterview.cli.output.evidence import has_shares, kind_in_words, standing
from afterview.cli.output.own_model import is_of_own_model, verdict_lines
from afterview.memory.base.counts import counted, were
from afterview.memory.base.typed_times import spell_duration
from afterview.stream.ask.answer_record import AnswerRecord

_NOTHING = "(the model said nothing)"


def print_in_short(record: AnswerRecord, *, text: bool) -> None:
    """Answer, evidence, what it is based on, and its id. `text` False where it was streamed."""
    answer, zones = record.answer, record.about.cameras
    if text:
        print(printable(answer.text) or _NOTHING)
    for line in verdict_lines(answer):
        print(f"  {line}")
    shown, _ = split_evidence(answer.evidence, all_of_them=not has_shares(answer))
    if shown and kind_in_words(answer):
        print(f"  evidence: {kind_in_words(answer)}")
    for item in shown:
        when = zones[item.camera].show(item.time)
        print(f"  {item.camera}  {when}  frame {item.frame}  {standing(item, answer)}{damage_of(item)}")
    for part in answer.parts:
        own, info = part.coverage, zones[part.coverage.camera]
        lost = "".join(
            f", {counted(number, 'frame')} {what} and {were(number)} left out"
            for number, what in ((own.damaged, "could not be read"), (own.unreachable, "cannot be read now"))
            if number
        )
        gaps = f", {counted(len(own.gaps), 'gap')}" if own.gaps else ""
        gone = ", parts no longer remembered" if own.removed else ""
        length = spell_duration(own.last_time - own.first_time + 1 / info.fps)
        print(
            f"  {own.camera}: {counted(own.frames, 'frame')} until {info.show(own.last_time)} ({length}){gaps}{gone}{lost}"
        )
    if is_of_own_model(answer) and answer.notice:
        print(f"  note: {answer.notice}")
    for line in by_reason("not asked", answer.skipped.items()):
        print(f"  {printable(line)}")
    print(f"  {answer.total_s:.2f} s; answer {answer.id}")


def print_line(record: AnswerRecord) -> None:
    """One line: the answers, and for each camera the time of its heaviest frame."""
    answer, zones = record.answer, record.about.cameras
    first = [(part.coverage.camera, part.evidence[0].time) for part in answer.parts if part.evidence]
    when = ", ".join(f"{camera} {zones[camera].show(moment)}" for camera, moment in first)
    said = " / ".join(printable(answer.text).split("\n")) or _NOTHING
    print(f"{said}  ({when})" if when else said)
