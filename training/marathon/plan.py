"""What a run will ask and store, by formula, before it asks. Holds nothing of a video: 100,000 take no more memory than one.

Tokens of words: 1.4 a word, as English text of captions has. Tokens of a picture: one for 28x28 pixels, as Qwen2-VL's family counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from afterview.configs import UsageError, load
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.marathon.config import EndpointConfig, MarathonConfig, ModelConfig
from afterview.training.marathon.models.prompts import prompt
from afterview.training.marathon.models.request import Purpose
from afterview.training.marathon.stages.tools import roles_of
from afterview.training.marathon.stages.videos import found_videos, listing_hash, look_at
from afterview.training.marathon.tasks import TOPICS

_LETTERS_PER_TOKEN: Final = 4.0
_PICTURE_PIXELS: Final = 28 * 28  # of one token
_WIDE: Final = 16 / 9
_CAPTION: Final = 450  # tokens of a clip's caption in six aspects, with its moments
_ASPECT: Final = 190  # of one aspect with the moments
_SUMMARY: Final = 60
_EVENT_S: Final = 120.0  # seconds of an event
_EVENT, _WHOLE, _QUESTION, _ANSWER = 90, 250, 110, 30  # tokens
_BYTES_PER_TOKEN: Final = 4.2  # of a row on disk, and as much again of the kept answer
_DISAGREE: Final = 0.1  # share of videos with a comparison, of questions each
_FRAME_TOKENS, _TOKEN_BYTES = 64 * 1152, 2  # of the features of a frame, as Hour-LLaVA stores them
ASSUMPTIONS: Final = (
    f"{_CAPTION} tokens a clip caption, an event of {_EVENT_S:g} s, {_QUESTION} tokens a question, 4 characters a token, a token for 28x28 "
    f"pixels of a 16:9 picture; features of 64 x 1152 float16 a second"
)


@dataclass
class Line:
    """One stage."""

    items: int = 0
    requests: int = 0
    prompt_tokens: float = 0.0
    answer_tokens: float = 0.0
    bytes: float = 0.0
    cost: float = 0.0


@dataclass
class Plan:
    """Sums over videos."""

    config: MarathonConfig
    videos: int = 0
    seconds: float = 0.0
    left_out: int = 0
    lines: dict[str, Line] = field(default_factory=dict)

    def add(self, seconds: float, count: int = 1) -> None:
        """Add videos of a length."""
        if not self.config.videos.least_s <= seconds <= self.config.videos.most_s:
            self.left_out += count
            return
        self.videos += count
        self.seconds += seconds * count
        for stage, role, purpose, requests, prompt_tokens, answer_tokens, items in _asked(self.config, seconds):
            line = self.lines.setdefault(stage, Line())
            line.items += items * count
            line.requests += requests * count
            said, answered = requests * (_fixed(purpose) + prompt_tokens), requests * answer_tokens
            line.prompt_tokens += said * count
            line.answer_tokens += answered * count
            line.bytes += 2 * answered * _BYTES_PER_TOKEN * count
            line.cost += _cost(roles_of(self.config).get(role), said, answered) * count
        if self.config.features is not None:
            line = self.lines.setdefault("features", Line())
            line.items += count
            line.bytes += seconds * _FRAME_TOKENS * _TOKEN_BYTES * count

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        stages = [{"stage": name, **_rounded(line)} for name, line in self.lines.items()]
        keys = ("requests", "prompt_tokens", "answer_tokens", "bytes", "cost")
        total = {key: sum(one[key] for one in stages) for key in keys}
        return {
            "videos": self.videos, "left_out": self.left_out, "hours": round(self.seconds / 3600, 2), "stages": stages, "total": total,
            "assumptions": ASSUMPTIONS,
        }  # fmt: skip


def plan_videos(config_path: Path, videos: Path, *, progress: ShowProgress = unseen) -> Plan:
    """The plan for a directory, whose videos are opened for their lengths. Raises ConfigError, UsageError."""
    plan = Plan(load(config_path, MarathonConfig))
    if not videos.is_dir():
        raise UsageError(f"--videos {videos}: is not a directory")
    _, count = listing_hash(videos)
    if not count:
        raise UsageError(f"--videos {videos}: holds no video file")
    with progress("videos", "videos") as report:
        for done, (name, size) in enumerate(found_videos(videos), 1):
            plan.add(look_at(videos, name, size, plan.config).seconds)
            report(done, count)
    return plan


def plan_assumed(config_path: Path, count: int, seconds: float) -> Plan:
    """The plan for so many videos of a length."""
    plan = Plan(load(config_path, MarathonConfig))
    plan.add(seconds, count)
    return plan


_Asked = tuple[str, str, Purpose, int, float, float, int]  # stage, role, purpose, requests, tokens of each, items


def _asked(config: MarathonConfig, seconds: float) -> Iterator[_Asked]:
    """What is asked about a video of a length."""
    clips = max(1, round(seconds / config.clips.seconds))
    events = max(config.videos.least_events, round(seconds / _EVENT_S))
    side = config.clips.image_size
    pictures = config.clips.frames * side * side * _WIDE / _PICTURE_PIXELS
    yield "clip-captions", "captioner", "clip_caption", clips, pictures, _CAPTION, clips
    yield "events", "writer", "events", 1, clips * _ASPECT, events * 25, events
    yield "event-captions", "writer", "event_caption", events, clips / events * _CAPTION, _EVENT, events
    yield "global-captions", "writer", "global_caption", 1, events * _EVENT, _WHOLE, 1
    asked = 0
    for count in (config.questions.open, config.questions.choice):
        if count:
            asked += count * len(TOPICS)
            yield (
                "questions",
                "writer",
                "questions",
                len(TOPICS),
                clips * _ASPECT + _WHOLE,
                count * _QUESTION,
                count * len(TOPICS),
            )
    looks = len(config.models.looks)
    for look in range(1, looks + 1):
        yield "further-captions", f"looks.{look}", "clip_caption", clips + 1, pictures, _CAPTION, clips + 1
    if looks:
        overlapping = 1 + 2 * looks  # captions of a clip: one of its own, two of each shifted captioner
        yield "agreed-captions", "checker", "agreed_caption", clips, overlapping * _CAPTION, _CAPTION, clips
    per_topic = asked / len(TOPICS)
    given = clips * (_ASPECT + _SUMMARY) + _WHOLE + per_topic * _QUESTION
    yield "checks", "checker", "answers", len(TOPICS) * (2 if looks else 1), given, per_topic * _ANSWER, asked
    yield "checks", "checker", "compare", 1, _DISAGREE * asked * _QUESTION, _DISAGREE * asked * _ANSWER, 0
    if config.models.blind is not None:
        yield "checks", "blind", "blind", 4, asked * _QUESTION, asked * _ANSWER, 0


_fixed_tokens: dict[Purpose, float] = {}


def _fixed(purpose: Purpose) -> float:
    """Tokens of a prompt without its data."""
    if purpose not in _fixed_tokens:
        said = prompt(purpose).messages({"topic": TOPICS[0], "form": "choice"})
        _fixed_tokens[purpose] = sum(len(one["content"]) for one in said) / _LETTERS_PER_TOKEN
    return _fixed_tokens[purpose]


def _cost(model: ModelConfig | None, prompt_tokens: float, answer_tokens: float) -> float:
    if not isinstance(model, EndpointConfig):
        return 0.0
    return (prompt_tokens * model.prices.prompt + answer_tokens * model.prices.answer) / 1e6


def _rounded(line: Line) -> dict[str, Any]:
    return {
        "items": line.items, "requests": line.requests, "prompt_tokens": round(line.prompt_tokens),
        "answer_tokens": round(line.answer_tokens), "bytes": round(line.bytes), "cost": round(line.cost, 4),
    }  # fmt: skip
