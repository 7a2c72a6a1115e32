"""Stage 7: questions per topic, open-ended and multiple choice."""

from collections.abc import Sequence
from typing import Any

from afterview.training.marathon.models.request import ItemFailed
from afterview.training.marathon.models.shapes import QuestionsAnswer, SaidQuestion
from afterview.training.marathon.rows import ClipCaption, Failure, Question, Row, Span, Video
from afterview.training.marathon.stages.captions import text_request, told
from afterview.training.marathon.stages.tools import WRITER, Tools
from afterview.training.marathon.tasks import FORMS, SUMMARY, TOPICS, Form, Topic, tasks_of

_ASPECT = {topic: topic for topic in TOPICS if topic != "event"} | {"event": "summary"}


def questions_of(video: Video, captions: Sequence[ClipCaption], whole: str, tools: Tools) -> list[Row]:
    """What is asked about a video, or failures in the places of whole topics."""
    config = tools.config.questions
    counts = {"open": config.open, "choice": config.choice}
    asked = [(topic, form) for topic in TOPICS for form in FORMS if counts[form]]
    requests = []
    for topic, form in asked:
        tasks = [{"name": task.name, "reach": task.reach, "definition": task.definition} for task in tasks_of(topic)]
        data: dict[str, Any] = {
            "topic": topic, "form": form, "count": counts[form], "options": config.options, "seconds": video.seconds, "tasks": tasks,
            "global_caption": whole, "clips": told(captions, _ASPECT[topic]),
        }  # fmt: skip
        requests.append(text_request("questions", f"{video.video}/{topic}/{form}", video, data, QuestionsAnswer, tools))
    rows: list[Row] = []
    for (topic, form), answer in zip(asked, tools.asker(WRITER).ask_all(requests), strict=True):
        key = f"{video.video}/{topic}/{form}"
        if isinstance(answer, ItemFailed):
            rows.append(Failure(key=key, video=video.video, failed=str(answer)))
            continue
        said = answer.questions[: counts[form]]
        rows += [_row(f"{key}/{number:02d}", video, topic, form, one, whole) for number, one in enumerate(said)]
    return rows


def _row(key: str, video: Video, topic: Topic, form: Form, one: SaidQuestion, whole: str) -> Question:
    summary = one.task == SUMMARY and form == "open"
    spans = tuple(
        Span(start_s=span.start_s, end_s=min(span.end_s, video.seconds))
        for span in one.spans
        if span.start_s <= span.end_s and span.start_s <= video.seconds
    )
    return Question(
        key=key, video=video.video, topic=topic, task=one.task.casefold(), form=form, question=one.question,
        answer=whole if summary else one.answer,  # as the paper has it
        wrong=one.wrong if form == "choice" else (), spans=spans, answer_s=one.answer_s,
    )  # fmt: skip
