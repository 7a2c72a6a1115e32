"""Stage 10: what is wrong with each question, by rules, by the captions, by what the captioners agree on, and without the video.

Reasons of checks.form, and:

exemplar      it is the question of an example of the prompt, which small models repeat
unsupported   the checker, with the captions that the question came from, answers otherwise, or finds no certain answer
looks         the checker, with what enough captioners agree on (stages.agreed), answers otherwise, or finds no certain answer
unchecked     a check could not be made
blind         answered rightly without the video, if `checks.blind` rejects such questions (otherwise it is a flag)
duplicate     repeats an earlier question of the video
"""

import hashlib
from collections.abc import Sequence
from random import Random
from typing import Any

from afterview.training.base.seeds import seeded
from afterview.training.marathon.checks.agreement import same_answer
from afterview.training.marathon.checks.duplicates import duplicates
from afterview.training.marathon.checks.form import faults
from afterview.training.marathon.models.prompts import exemplar_questions
from afterview.training.marathon.models.request import ItemFailed
from afterview.training.marathon.models.shapes import AnswersAnswer, CompareAnswer
from afterview.training.marathon.rows import Checked, ClipCaption, Question, Row, Video
from afterview.training.marathon.stages.captions import text_request, told
from afterview.training.marathon.stages.tools import BLIND, CHECKER, Tools
from afterview.training.marathon.tasks import TOPICS, aspect_of

LETTERS = "ABCDEFGH"
NO_ANSWER = "(no certain answer)"
_FAILED = "(not checked)"
_BLIND_ROUNDS = 4  # with the options in different orders: of two options, one question in 16 is guessed every time
_REASONS = (
    "task", "leak", "options", "form", "time", "exemplar", "unsupported", "looks", "unchecked", "blind", "duplicate",
)  # fmt: skip


def checked(
    video: Video, questions: Sequence[Question], captions: Sequence[ClipCaption], agreed: Sequence[ClipCaption] | None, whole: str,
    tools: Tools,
) -> list[Row]:  # fmt: skip
    """The questions with what the checks say, in their order. agreed: what the captioners agree on; None: some of it is lacking."""
    return list(_Checks(video, tools).run(questions, captions, agreed, whole))


class _Checks:
    """The checks of one video."""

    def __init__(self, video: Video, tools: Tools) -> None:
        self._video, self._tools, self._config = video, tools, tools.config.checks

    def run(
        self,
        questions: Sequence[Question],
        captions: Sequence[ClipCaption],
        agreed: Sequence[ClipCaption] | None,
        whole: str,
    ) -> list[Checked]:
        """All of them. A question that fails a cheap check is not asked about."""
        moments = [moment for one in captions for moment in one.moments]
        reasons = {one.key: faults(one, self._video.seconds, moments, self._config) for one in questions}
        exemplars = exemplar_questions()
        for one in questions:
            reasons[one.key] += ["exemplar"] if one.question.casefold() in exemplars else []
        asked = [one for one in questions if not reasons[one.key]]
        supported = self._answered(asked, captions, whole, "supported")
        seen: dict[str, str] = {}
        if agreed is None:
            seen = {one.key: _FAILED for one in asked}
        elif self._tools.config.models.looks:
            seen = self._answered(asked, agreed, None, "agreed")
        same = self._same(asked, supported, seen)
        blind = self._blind(asked)
        for one in asked:
            reasons[one.key] += self._judged(one, supported, seen, same, blind)
        self._repeated([one for one in questions if not reasons[one.key]], reasons)
        return self._rows(questions, reasons, supported, seen, blind)

    def _judged(
        self,
        one: Question,
        supported: dict[str, str],
        seen: dict[str, str],
        same: dict[tuple[str, str], bool],
        blind: set[str],
    ) -> list[str]:
        found = []
        if _FAILED in (supported[one.key], seen.get(one.key)):
            found.append("unchecked")
        elif not same[one.key, supported[one.key]]:
            found.append("unsupported")
        if seen.get(one.key, _FAILED) != _FAILED and not same[one.key, seen[one.key]]:
            found.append("looks")
        if one.key in blind and self._config.blind == "reject":
            found.append("blind")
        return found

    def _answered(
        self, questions: Sequence[Question], captions: Sequence[ClipCaption], whole: str | None, what: str
    ) -> dict[str, str]:
        """The checker's answers from captions, by key. whole: the global caption, if it may be used."""
        groups = [(topic, [one for one in questions if one.topic == topic]) for topic in TOPICS]
        groups = [(topic, group) for topic, group in groups if group]
        requests = []
        for topic, group in groups:
            data: dict[str, Any] = {
                "seconds": self._video.seconds,
                "clips": told(captions, *dict.fromkeys((aspect_of(topic), "summary"))),
            }
            if whole is not None:
                data["global_caption"] = whole
            data["questions"] = self._numbered(group, 0)
            item = f"{self._video.video}/{topic}/{what}"
            requests.append(
                text_request(
                    "answers",
                    item,
                    self._video,
                    data,
                    AnswersAnswer,
                    self._tools,
                    _every(len(group)),
                    (len(group), len(group)),
                )
            )
        found: dict[str, str] = {}
        for (_, group), answer in zip(groups, self._tools.asker(CHECKER).ask_all(requests), strict=True):
            found |= _by_key(group, answer)
        return found

    def _numbered(self, group: Sequence[Question], turn: int) -> list[dict[str, Any]]:
        return [
            {
                "number": number,
                "question": one.question,
                **({"options": self._options(one, turn)} if one.form == "choice" else {}),
            }
            for number, one in enumerate(group, 1)
        ]

    def _options(self, one: Question, turn: int) -> list[str]:
        """The options in a seeded order."""
        options = [one.answer, *one.wrong]
        return self._rng(f"options {turn} of {one.key}").sample(options, len(options))

    def _rng(self, purpose: str) -> Random:
        return seeded(f"marathon 1, {purpose}, seed {self._tools.config.seed}")

    def _same(
        self, questions: Sequence[Question], supported: dict[str, str], seen: dict[str, str]
    ) -> dict[tuple[str, str], bool]:
        """Whether answers agree with the questions' own: by rules, and where these say no and words may say the same, by the checker."""
        found: dict[tuple[str, str], bool] = {}
        unsure: list[tuple[Question, str]] = []
        for one in questions:
            for said in dict.fromkeys(answers[one.key] for answers in (supported, seen) if one.key in answers):
                same = same_answer(one.answer, said, tolerance_s=self._config.time_tolerance_s)
                found[one.key, said] = same
                if not same and said not in (NO_ANSWER, _FAILED) and one.form == "open" and len(said.split()) > 2:
                    unsure.append((one, said))
        if not unsure:
            return found
        pairs = [
            {"number": number, "question": one.question, "first": one.answer, "second": said}
            for number, (one, said) in enumerate(unsure, 1)
        ]

        def check(answer: CompareAnswer) -> None:
            if sorted(pair.number for pair in answer.pairs) != list(range(1, len(pairs) + 1)):
                raise ValueError(f"there must be one entry for each number from 1 to {len(pairs)}")

        request = text_request(
            "compare",
            self._video.video,
            self._video,
            {"pairs": pairs},
            CompareAnswer,
            self._tools,
            check,
            (len(pairs), len(pairs)),
        )
        answer = self._tools.asker(CHECKER).ask(request)
        if not isinstance(answer, ItemFailed):
            for pair in answer.pairs:
                one, said = unsure[pair.number - 1]
                found[one.key, said] = pair.same
        return found

    def _blind(self, questions: Sequence[Question]) -> set[str]:
        """The keys of those that the blind model answers rightly every time. Yes or no proves nothing."""
        asked = [one for one in questions if one.answer.casefold() not in ("yes", "no")]
        if self._tools.config.models.blind is None or not asked:
            return set()
        requests = [
            text_request(
                "blind", f"{self._video.video}/blind {turn}", self._video, {"questions": self._numbered(asked, turn)}, AnswersAnswer,
                self._tools, _every(len(asked)), (len(asked), len(asked)),
            )
            for turn in range(1, _BLIND_ROUNDS + 1)
        ]  # fmt: skip
        right = {one.key for one in asked}
        for answer in self._tools.asker(BLIND).ask_all(requests):
            said = _by_key(asked, answer)
            right &= {
                one.key
                for one in asked
                if same_answer(one.answer, said[one.key], tolerance_s=self._config.time_tolerance_s)
            }
        return right

    def _repeated(self, kept: Sequence[Question], reasons: dict[str, list[str]]) -> None:
        found = duplicates([one.question for one in kept], [one.answer for one in kept], self._config.duplicates)
        for one, repeats in zip(kept, found, strict=True):
            if repeats:
                reasons[one.key].append("duplicate")

    def _rows(
        self, questions: Sequence[Question], reasons: dict[str, list[str]], supported: dict[str, str], seen: dict[str, str],
        blind: set[str],
    ) -> list[Checked]:  # fmt: skip
        rows, turn = [], _offset(self._video.video)
        for one in questions:
            options, letter = tuple[str, ...](), ""
            if one.form == "choice" and one.wrong:
                options, letter = self._offered(one, turn)
                turn += not reasons[one.key]
            rows.append(
                Checked(
                    **one.model_dump(), reasons=tuple(sorted(reasons[one.key], key=_REASONS.index)),
                    flags=("blind",) if one.key in blind else (), supported=supported.get(one.key, ""),
                    agreed=seen.get(one.key, ""), options=options, letter=letter,
                )
            )  # fmt: skip
        return rows

    def _offered(self, one: Question, turn: int) -> tuple[tuple[str, ...], str]:
        """The options with the right one at place `turn`, so that all letters come equally often, and its letter."""
        wrong = self._rng(f"places of {one.key}").sample(one.wrong, len(one.wrong))[: len(LETTERS) - 1]
        place = turn % (len(wrong) + 1)
        return (*wrong[:place], one.answer, *wrong[place:]), LETTERS[place]


def _offset(video: str) -> int:
    """Where a video's letters begin."""
    return int(hashlib.sha256(video.encode()).hexdigest()[:8], 16)


def _every(count: int) -> Any:
    """A check that there is one answer for each number."""

    def check(answer: AnswersAnswer) -> None:
        if sorted(one.number for one in answer.answers) != list(range(1, count + 1)):
            raise ValueError(f"there must be one entry for each number from 1 to {count}")

    return check


def _by_key(group: Sequence[Question], answer: AnswersAnswer | ItemFailed) -> dict[str, str]:
    if isinstance(answer, ItemFailed):
        return {one.key: _FAILED for one in group}
    said = {
        one.number: one.answer.strip() if one.answerable and one.answer.strip() else NO_ANSWER for one in answer.answers
    }
    return {one.key: said[number] for number, one in enumerate(group, 1)}
