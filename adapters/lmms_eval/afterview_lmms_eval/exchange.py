"""Two ways to an Afterview in another environment: a worker process, or a running service. Standard library only."""

import json
import os
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

PROTOCOL = 1  # of training/evaluation/worker.py
Span = tuple[float | None, float | None]  # seconds from the video's beginning; None: open
_TRIES, _WAIT_S = 4, 2.0  # for a service that is busy or starting


class AfterviewError(RuntimeError):
    """Afterview refused or failed; the text says why."""


class Exchange(Protocol):
    """Asks about one video."""

    def generate(self, video: str, prompt: str, most: int | None, span: Span) -> str:
        """The answer, greedy. most: tokens. span: seconds from the video's beginning."""
        ...

    def likelihood(self, video: str, prompt: str, continuation: str, span: Span) -> tuple[float, bool]:
        """Log-likelihood of a continuation, and whether it is the greedy one. span: as of `generate`."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


class Worker:
    """Starts `afterview evaluate worker` and speaks to it over its standard input and output."""

    def __init__(self, command: str | Sequence[str], model: str, work: str) -> None:
        """command: how Afterview is started in its own environment, such as /opt/afterview/bin/afterview. work: for memories of videos."""
        words = shlex.split(command) if isinstance(command, str) else list(command)
        # Variables of this environment would lead the other Python to packages of this one.
        environment = {
            name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
        }
        try:
            self._process = subprocess.Popen(
                [*words, "evaluate", "worker", "--model", model, "--work", work, "--quiet"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment,
            )  # fmt: skip
        except OSError as error:
            raise AfterviewError(
                f"{words[0]}: cannot be started ({error}); give command=/path/to/afterview in --model_args"
            ) from error
        self._number = 0
        hello = self._ask(do="hello")
        if hello.get("protocol") != PROTOCOL:
            self.close()
            raise AfterviewError(
                f"this Afterview speaks protocol {hello.get('protocol')}, not {PROTOCOL}; install the adapter of its version"
            )
        self.model, self.weights = str(hello["model"]), str(hello["weights"])

    def generate(self, video: str, prompt: str, most: int | None, span: Span) -> str:
        """See Exchange."""
        found = self._ask(
            do="generate", video=_path(video), prompt=prompt, max_new_tokens=most, start=span[0], end=span[1]
        )
        return str(found["text"])

    def likelihood(self, video: str, prompt: str, continuation: str, span: Span) -> tuple[float, bool]:
        """See Exchange."""
        found = self._ask(
            do="likelihood", video=_path(video), prompt=prompt, continuation=continuation, start=span[0], end=span[1]
        )
        return float(found["log_likelihood"]), bool(found["greedy"])

    def close(self) -> None:
        """See Exchange."""
        if self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except OSError:
                pass  # it has ended already
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _ask(self, **request: Any) -> dict[str, Any]:
        self._number += 1
        sent = {"id": self._number, **{name: value for name, value in request.items() if value is not None}}
        assert self._process.stdin is not None and self._process.stdout is not None, "both are pipes"  # noqa: PT018
        try:
            self._process.stdin.write(json.dumps(sent) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            raise AfterviewError(f"the worker ended with status {self._process.wait()}; its own messages say why")
        found = json.loads(line)
        if found.get("id") != self._number:
            raise AfterviewError(f"the worker answered request {found.get('id')}, not {self._number}")
        if "error" in found:
            raise AfterviewError(str(found["error"]))
        return dict(found)


class Service:
    """Speaks to `afterview serve` over its door for clients of OpenAI. The service must allow the videos' folder (openai.folders)."""

    def __init__(self, base_url: str, key: str = "", timeout_s: float = 600.0) -> None:
        """base_url: such as http://127.0.0.1:8077/v1."""
        if not base_url.startswith(("http://", "https://")):
            raise AfterviewError(f"base_url={base_url}: give an address such as http://127.0.0.1:8077/v1")
        self._url, self._key, self._timeout_s = base_url.rstrip("/"), key, timeout_s
        self.model, self.weights = "afterview", ""

    def generate(self, video: str, prompt: str, most: int | None, span: Span) -> str:
        """See Exchange. Raises AfterviewError for a span, which a service does not take of a video that is sent."""
        if span != (None, None):
            raise AfterviewError(
                "a part of a video can be asked about with a worker only; give command= instead of base_url="
            )
        parts = [
            {"type": "video_url", "video_url": {"url": Path(_path(video)).as_uri()}},
            {"type": "text", "text": prompt},
        ]
        request = {"model": self.model, "messages": [{"role": "user", "content": parts}], "temperature": 0}
        found = self._post("/chat/completions", request | ({} if most is None else {"max_tokens": most}))
        return str(found["choices"][0]["message"]["content"])

    def likelihood(self, video: str, prompt: str, continuation: str, span: Span) -> tuple[float, bool]:
        """Raises AfterviewError: a service gives no probabilities."""
        raise AfterviewError(
            "a service gives no probabilities of texts; give command= instead of base_url=, which starts a worker"
        )

    def close(self) -> None:
        """See Exchange."""

    def _post(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        headers = {
            "Content-Type": "application/json",
            **({"Authorization": f"Bearer {self._key}"} if self._key else {}),
        }
        request = urllib.request.Request(self._url + path, json.dumps(document).encode(), headers)
        for attempt in range(1, _TRIES + 1):
            try:
                with urllib.request.urlopen(request, timeout=self._timeout_s) as response:
                    return dict(json.load(response))
            except urllib.error.HTTPError as error:
                if error.code not in (429, 503) or attempt == _TRIES:
                    raise AfterviewError(f"{self._url}: {_reason(error)}") from error
                time.sleep(_wait(error, attempt))
            except (OSError, ValueError) as error:
                raise AfterviewError(
                    f"{self._url}: no answer ({error}); is `afterview serve` running there?"
                ) from error
        raise AssertionError("unreachable")


def _wait(error: urllib.error.HTTPError, attempt: int) -> float:
    try:
        return min(60.0, float(error.headers.get("Retry-After", "")))
    except ValueError:
        return _WAIT_S * attempt


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"]["message"])
    except (ValueError, KeyError, TypeError, OSError):
        return f"status {error.code}"


def _path(video: str) -> str:
    return os.path.abspath(video.removeprefix("file://"))
