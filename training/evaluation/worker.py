"""Answers a program in another environment, such as lmms-eval, which cannot be installed beside this package: `afterview evaluate worker`.

One JSON object a line on standard input, one on standard output for each, in the same order:

    {"id": 1, "do": "hello"}                                       {"id": 1, "protocol": 1, "model": "tiny", "weights": "sha256:..."}
    {"id": 2, "do": "generate", "video": PATH, "prompt": TEXT,     {"id": 2, "text": "red", "frames": 60, "seconds": 0.1}
     "max_new_tokens": 16, "start": 0, "end": 60}
    {"id": 3, "do": "likelihood", "video": PATH, "prompt": TEXT,   {"id": 3, "log_likelihood": -0.31, "greedy": true}
     "continuation": " red", "start": 0, "end": 60}
    anything that fails                                            {"id": 4, "error": "what and how to mend it", "kind": "usage"}

The answers are those of `afterview evaluate run`: the same memories, the same prompt, greedy, without the preset's scope. `start` and `end`
(seconds) and `max_new_tokens` may be left out. Frames are recalled by the prompt up to its first option.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Final

from afterview.configs import AfterviewError, UsageError
from afterview.model.checkpoint.models import AfterviewModel
from afterview.stream.ask.options import options_in, without_options
from afterview.training.evaluation.benchmarks.asking import LONGEST, Asked, MemoryAsker
from afterview.training.evaluation.benchmarks.features import VideoMemories
from afterview.training.evaluation.likelihood import log_likelihood, tokens_said

_LOGGER = logging.getLogger(__name__)

PROTOCOL: Final = 1
_MOST_TOKENS: Final = 32_768
_LONGEST_LINE: Final = 4_000_000  # bytes of a request


class Worker:
    """Answers requests about videos. work: where their memories are kept."""

    def __init__(self, model: AfterviewModel, work: Path) -> None:
        self._model, self._memories = model, VideoMemories(work, model.encoders)
        self._asker: tuple[Path, _Asker] | None = None  # of the video that was asked about last

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one request, without its id. Raises UsageError for a request that is none."""
        match request.get("do"):
            case "hello":
                return {
                    "protocol": PROTOCOL,
                    "model": self._model.preset.reference,
                    "weights": self._model.weights_hash,
                }
            case "generate":
                reply = self._of(request).ask(_asked(request))
                return {"text": reply.text, "frames": reply.frames, "seconds": round(reply.seconds, 3)}
            case "likelihood":
                log, greedy = self._of(request).continuation(_asked(request), _text(request, "continuation"))
                return {"log_likelihood": log, "greedy": greedy}
            case other:
                raise UsageError(f"do: {other!r}; send hello, generate or likelihood")

    def _of(self, request: Mapping[str, Any]) -> "_Asker":
        video = Path(_text(request, "video"))
        if not video.is_file():
            raise UsageError(f"video: {video}: no such file")
        memory = self._memories.memory(video)  # of its content: another video may lie under the same name
        if self._asker is None or self._asker[0] != memory:
            self._asker = memory, _Asker(memory, self._model)
        return self._asker[1]


class _Asker(MemoryAsker):
    """Weighs whole texts, too."""

    def continuation(self, asked: Asked, text: str) -> tuple[float, bool]:
        """Log-likelihood of a text as the beginning of the answer, and whether a greedy answer would begin so. A letter may be said by
        words: see `tokens_said`.
        """
        ids = tokens_said(self._model, text, options_in(asked.prompt))
        if not ids:
            raise UsageError(f"continuation: {text!r} has no tokens of this model")
        return log_likelihood(self._model, self.inputs(asked), ids)


def serve(worker: Worker, requests: Iterable[bytes], answers: IO[str]) -> None:
    """Answer every line until the requests end. A request that fails is answered with its error, and the next one is read.

    requests: lines as they come; one that is not UTF-8 fails like any other.
    """
    for line in requests:
        number: Any = None
        try:
            number, request = _parsed(line)
            said = _encoded(number, worker.answer(request))
        except (AfterviewError, OSError) as error:
            kind = "usage" if isinstance(error, UsageError) else "failed"
            said = _encoded(number, {"error": str(error), "kind": kind})
        except Exception as error:  # a bug must not end the other questions
            _LOGGER.exception("request %s", number)
            said = _encoded(number, {"error": f"{type(error).__name__}: {error}", "kind": "bug"})
        answers.write(said)
        answers.flush()


def _encoded(number: Any, found: Mapping[str, Any]) -> str:
    try:
        return json.dumps({"id": number, **found}, allow_nan=False) + "\n"
    except ValueError:
        raise AfterviewError("the answer holds NaN or an infinite number; the weights may be damaged") from None


def _parsed(line: bytes) -> tuple[Any, Mapping[str, Any]]:
    if len(line) > _LONGEST_LINE:
        raise UsageError(f"a request of {len(line)} bytes; send at most {_LONGEST_LINE}")
    try:
        request = json.loads(line.decode())
    except UnicodeDecodeError:
        raise UsageError("the line is not UTF-8 text") from None
    except (ValueError, RecursionError):
        raise UsageError("the line is no JSON; send one object a line") from None
    if not isinstance(request, dict):
        raise UsageError("the line is no JSON object")
    number = request.get("id")
    return (number if isinstance(number, int | str) else None), request


def _asked(request: Mapping[str, Any]) -> Asked:
    prompt = _text(request, "prompt")
    if len(prompt) > LONGEST:
        raise UsageError(f"prompt: {len(prompt)} characters; at most {LONGEST} are read")
    most = request.get("max_new_tokens")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= _MOST_TOKENS):
        raise UsageError(f"max_new_tokens: {most!r}; send a number from 1 to {_MOST_TOKENS}, or leave it out")
    start, end = (_seconds(request, key) for key in ("start", "end"))
    return Asked(prompt, without_options(prompt), start, end, max_new_tokens=most)


def _seconds(request: Mapping[str, Any], key: str) -> float | None:
    value = request.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e8:
        raise UsageError(f"{key}: {value!r}; send seconds from the video's beginning, or leave it out")
    return float(value)


def _text(request: Mapping[str, Any], key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str) or not value or "\0" in value:
        raise UsageError(f"{key}: {value!r}; send a text"[:200])
    return value
