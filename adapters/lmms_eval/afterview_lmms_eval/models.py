"""What lmms-eval 0.7 calls. Tasks of messages (generate_until, several rounds) get AfterviewChat; those that compare likelihoods exist for
"simple" models only (--force_simple), and get AfterviewSimple.

A question is about one video. Several videos, pictures and sound are refused by name: Afterview would answer about something else.
"""

from collections.abc import Callable, Sequence
from typing import Any

from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms

from afterview_lmms_eval.exchange import AfterviewError, Exchange, Service, Span, Worker

_MOST_ROUNDS = 100


class _Afterview(lmms):
    """model: a preset, directory or hub id. command: how Afterview starts in its own environment; base_url: a running service instead."""

    def __init__(
        self,
        model: str = "tiny",
        command: str = "afterview",
        work: str = "afterview-memories",
        base_url: str = "",
        key: str = "",
        batch_size: int | str = 1,
        device: str = "",
        **unknown: Any,
    ) -> None:
        super().__init__()
        if others := {name for name, value in unknown.items() if value is not None}:
            raise AfterviewError(
                f"--model_args: unknown {', '.join(sorted(others))}; there are model, command, work, base_url and key"
            )
        self._exchange: Exchange = Service(base_url, key) if base_url else Worker(command, model, work)

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """One answer for each request."""
        return [self._one(request) for request in requests]

    def generate_until_multi_round(self, requests: list[Instance]) -> list[Any]:
        """The answers of all rounds of each request."""
        return [self._rounds(request) for request in requests]

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Minus the log-likelihood of each continuation (lmms-eval takes the smallest as the best), and whether it is the greedy one."""
        raise NotImplementedError(
            "lmms-eval compares likelihoods for simple models only; run this task with --force_simple"
        )

    def clean(self) -> None:
        """Ends the worker."""
        self._exchange.close()
        super().clean()

    def _one(self, request: Instance) -> str:
        raise NotImplementedError

    def _rounds(self, request: Instance) -> list[str]:
        raise NotImplementedError

    def _document(self, task: str, split: str, number: int) -> Any:
        return self.task_dict[task][split][number]

    def _generate(self, video: str, span: Span, text: str, settings: dict[str, Any]) -> str:
        most = settings.get("max_new_tokens") or settings.get("max_gen_toks")
        answer = self._exchange.generate(video, text, int(most) if most else None, span)
        return until(answer, settings.get("until"))


class AfterviewChat(_Afterview):
    """For tasks of messages."""

    is_simple = False

    def _one(self, request: Instance) -> str:
        context, to_messages, settings, number, task, split = request.args
        video, span, text = read_messages(to_messages(self._document(task, split, number)))
        answer = self._generate(video, span, text, settings)
        self.cache_hook.add_partial("generate_until", (context, settings), answer)
        return answer

    def _rounds(self, request: Instance) -> list[str]:
        _, to_messages, settings, number, task, split = request.args
        document = self._document(task, split, number)
        messages, answers, info, shown = to_messages(document), [], None, None
        for round_number in range(1, _MOST_ROUNDS + 1):
            video, span, text = read_messages(messages, shown)
            shown = video, span
            answers.append(self._generate(video, span, text, settings))
            messages, ended, given, info = to_messages(
                document, round_idx=round_number, previous_output=list(answers), previous_round_info=info
            )  # fmt: skip
            if ended:
                return list(given) if given is not None else answers
        raise AfterviewError(f"task {task}, document {number}: more than {_MOST_ROUNDS} rounds")


class AfterviewSimple(_Afterview):
    """For tasks that give a text and what is shown."""

    is_simple = True

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """See the base class."""
        found = []
        for request in requests:
            context, continuation, to_visual, number, task, split = request.args
            document = self._document(task, split, number)
            wanted = continuation(document) if callable(continuation) else continuation
            video, span = read_visuals(to_visual(document))
            log, greedy = self._exchange.likelihood(video, plain_text(context), str(wanted), span)
            found.append((-log, greedy))
        return found

    def _one(self, request: Instance) -> str:
        context, settings, to_visual, number, task, split = request.args
        video, span = read_visuals(to_visual(self._document(task, split, number)))
        answer = self._generate(video, span, plain_text(context), settings)
        self.cache_hook.add_partial("generate_until", (context, settings), answer)
        return answer

    def _rounds(self, request: Instance) -> list[str]:
        context, settings, to_visual, to_text, number, task, split = request.args
        document = self._document(task, split, number)
        visuals, answers, info = to_visual(document), [], None
        for round_number in range(1, _MOST_ROUNDS + 1):
            video, span = read_visuals(visuals)
            answers.append(self._generate(video, span, plain_text(context), settings))
            new, context, ended, given, info = to_text(
                document, previous_output=list(answers), round_idx=round_number, previous_round_info=info
            )  # fmt: skip
            visuals = new or visuals
            if ended:
                return list(given) if given is not None else answers
        raise AfterviewError(f"task {task}, document {number}: more than {_MOST_ROUNDS} rounds")


def read_messages(messages: Sequence[Any], shown: tuple[str, Span] | None = None) -> tuple[str, Span, str]:
    """Video, span and text of a chat's messages. shown: of the round before, for messages that show nothing.

    Raises AfterviewError, also for the turns of an assistant: without their roles, an answer would read as words of the question.
    """
    visuals: list[Any] = []
    texts: list[str] = []
    for message in messages:
        if (role := message["role"]) not in ("system", "user"):
            raise AfterviewError(
                f"a message of role {role!r} is among those of this task; Afterview takes system and user alone, as one question"
            )
        content = message["content"]
        if isinstance(content, str):
            texts.append(content)
            continue
        for part in content:
            if part["type"] == "text":
                texts.append(part["text"])
            else:
                visuals.append({**part, **part["url"]} if isinstance(part["url"], dict) else dict(part))
    video, span = shown if shown is not None and not visuals else read_visuals(visuals)
    return video, span, "\n".join(text for text in texts if text)


def read_visuals(visuals: Sequence[Any] | None) -> tuple[str, Span]:
    """The only video, with its span. Raises AfterviewError for anything else."""
    given = list(visuals or [])
    if len(given) != 1:
        raise AfterviewError(f"{len(given)} videos or pictures are shown; Afterview is asked about one video at a time")
    (one,) = given
    if isinstance(one, str):
        return one, (None, None)
    if isinstance(one, dict):
        name = next((one[key] for key in ("url", "path", "video") if isinstance(one.get(key), str)), None)
        if name is not None and one.get("type", "video") == "video":
            return name, (
                _first(one, "video_start", "start_time", "start"),
                _first(one, "video_end", "end_time", "end"),
            )
    raise AfterviewError(
        f"what is shown is {type(one).__name__} {one.get('type') if isinstance(one, dict) else ''}, and no video file"
    )


def _first(values: dict[str, Any], *names: str) -> float | None:
    found = next((values[name] for name in names if values.get(name) is not None), None)
    return None if found is None else float(found)


def plain_text(context: str) -> str:
    """The text without the marks that some tasks put where pictures go."""
    for mark in ("<image>", "<video>"):
        context = context.replace(mark, "")
    return context.strip()


def until(answer: str, stops: str | Sequence[str] | Callable[..., Any] | None) -> str:
    """The answer up to the first stop text."""
    for stop in [stops] if isinstance(stops, str) else list(stops or []) if not callable(stops) else []:
        if stop and stop in answer:
            answer = answer[: answer.index(stop)]
    return answer
