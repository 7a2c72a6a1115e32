"""A world's questions in VideoMarathon's annotation format, so that any model can be trained on them: `extract` its video, then `train`.

Each question names its task in VideoMarathon (arXiv 2506.05332, 22 tasks). The world has no questions for object
interaction, action localization, action sequence, action reasoning and temporal reasoning.
"""

from collections.abc import Sequence
from typing import Any, Final

from afterview.training.world.questions import WorldQuestion

MOST_PAIRS: Final = 5  # most question-answer pairs of one sample (VideoMarathon)
DATA_SOURCE: Final = "afterview world"

TASKS: Final = {
    "when": "temporal perception",
    "last": "temporal perception",
    "now": "temporal perception",
    "duration": "duration perception",
    "gap": "temporal gap estimation",
    "first": "temporal order",
    "order": "temporal order",
    "where": "spatial perception",
    "hidden": "spatial reasoning",
    "behind": "spatial reasoning",
    "shape": "object recognition",
    "digit": "object recognition",
    "word": "object recognition",
    "colour": "object attribute",
    "size": "object attribute",
    "at first": "object attribute",
    "afterwards": "object attribute",
    "change": "object reasoning",
    "count": "object reasoning",
    "exists": "object existence",
    "camera": "object permanence",
    "first camera": "object permanence",
    "next camera": "object permanence",
    "on camera": "object reasoning",
    "motion": "action recognition",
    "scene": "scene recognition",
    "scene now": "scene recognition",
    "scene seen": "scene recognition",
    "scene before": "scene transition",
    "before": "event sequence",
    "after": "event sequence",
    "scene summary": "key event extraction",
    "summary": "overall summarization",
}


def annotations(video: str, questions: Sequence[WorldQuestion]) -> list[dict[str, Any]]:
    """LLaVA JSON: samples of a video called `video`, with up to MOST_PAIRS questions each, all about the whole video."""
    return [
        {
            "id": f"{video}-{number}",
            "data_source": DATA_SOURCE,
            "video": video,
            "tasks": [TASKS[question.kind] for question in pairs],
            "conversations": [turn for place, question in enumerate(pairs) for turn in _turns(question, place == 0)],
        }
        for number, pairs in enumerate(questions[at : at + MOST_PAIRS] for at in range(0, len(questions), MOST_PAIRS))
    ]


def _turns(question: WorldQuestion, first: bool) -> list[dict[str, str]]:
    tag = "<image>\n" if first else ""
    return [{"from": "human", "value": tag + question.text}, {"from": "gpt", "value": question.answer}]
