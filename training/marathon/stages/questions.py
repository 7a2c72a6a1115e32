"""Stage 7: questions per topic, open-ended and multiple choice."""

from collections.abc import Sequence
from typing import Any

from afterview.training.marathon.models.request import ItemFailed
from afterview.training.marathon.models.shapes import QuestionsAnswer, SaidQuestion
from afterview.training.marathon.rows import ClipCaption, Failure, Question, Row, Span, Video
from afterview.training.marathon.stages.captions import text_request, told
from afterview.training.marathon.stages.tools import WRITER, Tools
from afterview.training.marathon.tasks import FORMS, SUMMARY, TOPICS, Form, Topic, aspect_of, tasks_of


def questions_of(video: Video, captions: Sequence[ClipCaption], whole: str, tools: Tools) -> list[Row]:
    """What is asked about a video, or failures in the places of whole topics. Each form is told what the one before has asked."""
    config = tools.config.questions
    counts = {"open": config.open, "choice": config.choice}
    rows: list[Row] = []
    for form in FORMS:
        if counts[form]:
            rows += _of_form(video, captions, whole, form, counts[form], rows, tools)
    return sorted(rows, key=_place)


def _of_form(
    video: Video,
    captions: Sequence[ClipCaption],
    whole: str,
    form: Form,
    count: int,
    before: Sequence[Row],
    tools: Tools,
) -> list[Row]:
    requests = []
    for topic in TOPICS:
        tasks = [{"name": task.name, "reach": task.reach, "definition": task.definition} for task in tasks_of(topic)]
        asked = [one.question for one in before if isinstance(one, Question) and one.topic == topic]
        data: dict[str, Any] = {
            "topic": topic, "form": form, "count": count, "options": tools.config.questions.options, "seconds": video.seconds,
            "tasks": tasks, "global_caption": whole, "clips": told(captions, aspect_of(topic)), **({"asked": asked} if asked else {}),
        }  # fmt: skip
        item = f"{video.video}/{topic}/{form}"
        requests.append(text_request("questions", item, video, data, QuestionsAnswer, tools, entries=(0, count)))
    rows: list[Row] = []
    for topic, answer in zip(TOPICS, tools.asker(WRITER).ask_all(requests), strict=True):
        key = f"{video.video}/{topic}/{form}"
        if isinstance(answer, ItemFailed):
            rows.append(Failure(key=key, video=video.video, failed=str(answer)))
            continue
        said = answer.questions[:count]
        rows += [
            _row(f"{key}/{number:02d}", video, topic, form, one, whole, tools.config.questions.options)
            for number, one in enumerate(said)
        ]
    return rows


def _place(row: Row) -> tuple[int, str]:
    """The order of topics, then that of keys."""
    topic, key = getattr(row, "topic", ""), getattr(row, "key", "")
    return (TOPICS.index(topic) if topic in TOPICS else len(TOPICS)), key


def _row(key: str, video: Video, topic: Topic, form: Form, one: SaidQuestion, whole: str, options: int) -> Question:
    summary = one.task == SUMMARY and form == "open"
    spans = tuple(
        Span(start_s=span.start_s, end_s=min(span.end_s, video.seconds))
        for span in one.spans
        if span.start_s <= span.end_s and span.start_s <= video.seconds
    )
    return Question(
        key=key, video=video.video, topic=topic, task=one.task.casefold(), form=form, question=one.question,
        answer=whole if summary else one.answer,  # as the paper has it
        wrong=one.wrong[: options - 1] if form == "choice" else (), spans=spans, answer_s=one.answer_s,
    )  # fmt: skip
