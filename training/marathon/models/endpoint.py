"""A model behind any server that speaks OpenAI's protocol. One request at a time per thread; the exchange itself is stream.ask.own_model's:
no proxy, no redirect, bounded sizes and times, Retry-After obeyed, and no secret in a message.
"""

import os
import random
import ssl
import threading
from collections.abc import Mapping
from typing import Any, Final

from afterview.configs import UsageError
from afterview.stream.ask.own_model.errors import ModelServerBusy, ModelServerError
from afterview.stream.ask.own_model.exchange import Exchange
from afterview.stream.ask.own_model.server import ModelServer, split_address
from afterview.training.base.errors import EndpointError
from afterview.training.marathon.config import EndpointConfig, sampling_of
from afterview.training.marathon.models.messages import messages_of, show
from afterview.training.marathon.models.request import ItemFailed, Request, Said
from afterview.training.marathon.models.shapes import CaptionAnswer, schema_of

_WRONG_SETTINGS: Final = frozenset(
    {300, 301, 302, 303, 307, 308, 401, 403, 404, 405, 407}
)  # no other request would fare better
_WRONG_REQUEST: Final = frozenset({400, 413, 415, 422})  # the same would be refused again
_FIRST_WAIT_S: Final = 0.5  # doubled with each try
_LONGEST_WAIT_S: Final = 30.0
_LONGEST_BUSY_S: Final = 900.0  # that a busy server may ask to wait
_MOST_FAILURES: Final = (
    20  # requests one after another that failed, after which the run ends instead of failing item by item
)


class Endpoint:
    """A model that is reached over HTTP."""

    def __init__(self, name: str, config: EndpointConfig, *, sees: bool = False) -> None:
        """name: of the setting, for messages. sees: whether pictures are sent. Raises UsageError."""
        self._name, self._config, self._sees = name, config, sees
        base, query = split_address(config.url)
        self._server = ModelServer(
            base=base, model=config.model, key=_key(name, config), query=query, timeout_s=config.timeout_s,
            first_token_s=config.timeout_s, stream=False,
            tls=ssl.create_default_context() if base.startswith("https:") else None,  # read once, not for each request
        )  # fmt: skip
        self._lock, self._failures, self._stopped = threading.Lock(), 0, threading.Event()
        self.sent_bytes = self.requests = 0

    @property
    def identity(self) -> str:
        """Address, model, and what shapes an answer."""
        given = self._config
        penalty = "" if given.frequency_penalty is None else f" penalty {given.frequency_penalty}"
        return (
            f"openai {self._server.base} {given.model} {given.answers} {given.temperature} {given.max_tokens}{penalty}"
        )

    @property
    def at_once(self) -> int:
        """As configured."""
        return self._config.at_once

    @property
    def sees(self) -> bool:
        """Whether pictures are sent."""
        return self._sees

    @property
    def keep(self) -> bool:
        """They cost."""
        return True

    def stop(self) -> None:
        """End what is being asked within a fraction of a second."""
        self._stopped.set()

    def ask(self, request: Request, repairs: tuple[str, ...], said: tuple[str, ...]) -> Said:
        """The words of the model. A request that fails is sent again, a bounded number of times, ever later."""
        body = self._body(request, repairs, said)
        for number in range(1, self._config.tries + 1):
            try:
                reply = Exchange(self._server, on_sent=self._count, cancel=self._stopped).ask(body)
            except ModelServerError as error:
                what = f"the server {(error.what or str(error)).removeprefix(f'{self._server.host} ')}"  # its name is in the provenance
                if error.silent:  # like any answer that cannot be used: the same request would have the same one
                    return self._answered(Said(""))
                if error.status in _WRONG_SETTINGS:
                    raise EndpointError(f"{self._name}: {what}; check url, model and key_variable") from None
                refused = error.status in _WRONG_REQUEST
                if refused or number == self._config.tries:
                    self._failed(what, refused=refused)
                    raise ItemFailed(what) from None
                wait = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (number - 1)) * random.uniform(
                    0.5, 1.0
                )  # not all at once
                if isinstance(error, ModelServerBusy):
                    wait = max(wait, min(error.retry_after_s, _LONGEST_BUSY_S))
                self._stopped.wait(wait)
            else:
                return self._answered(Said(reply.text, reply.tokens, reply.cut))
        raise AssertionError("the last try returns or raises")

    def _answered(self, said: Said) -> Said:
        with self._lock:
            self._failures = 0
        return said

    def _failed(self, what: str, *, refused: bool) -> None:
        """Count a request that failed for good. Raises EndpointError if nothing else happens any more.

        refused: the server took none of it, for example because it is too long. Then it may take others, which a short one shows.
        """
        with self._lock:
            self._failures += 1
            failures = self._failures
            if failures < _MOST_FAILURES:
                return
        if refused and self._takes_any():
            self._answered(Said(""))
            return
        raise EndpointError(
            f"{self._name}: {failures} requests failed one after another, the last one: {what}; what was answered is kept: "
            "mend the server, or what it is asked (answers, max_tokens), and run the same command again"
        )

    def _takes_any(self) -> bool:
        """Whether the server takes a short request of the same form."""
        words = 'Answer with this JSON object: {"caption": "ready"}'
        body: dict[str, Any] = {"messages": [{"role": "user", "content": words}], "seed": 0, "max_tokens": 16}
        body |= _format("caption", schema_of(CaptionAnswer), self._config)
        try:
            Exchange(self._server, on_sent=self._count, cancel=self._stopped).ask(body)
        except ModelServerError as error:
            return error.silent
        return True

    def _count(self, size: int) -> None:
        with self._lock:
            self.sent_bytes += size
            self.requests += 1

    def _body(self, request: Request, repairs: tuple[str, ...], said: tuple[str, ...]) -> dict[str, Any]:
        messages = messages_of(request, repairs, said)
        if self._sees and request.picture_times:
            show(messages, len(request.messages) - 1, request.pictures())
        given = self._config
        body: dict[str, Any] = {
            "messages": messages,
            "seed": request.seed,
            "max_tokens": given.max_tokens,
            **_format(request.purpose, request.schema(), given),
        }
        body |= sampling_of(given)
        if given.label_requests:
            body["user"] = f"{request.purpose} {request.item}"
        return body


def _key(name: str, config: EndpointConfig) -> str | None:
    """The key in the environment. Raises UsageError if there should be one."""
    if config.key_variable is None:
        return None
    key = os.environ.get(config.key_variable, "").strip()
    if not key:
        raise UsageError(
            f"{name}: key_variable names {config.key_variable}, which is not set; export it, or leave key_variable out"
        )
    return key


def _format(name: str, schema: Mapping[str, Any], config: EndpointConfig) -> Mapping[str, Any]:
    if config.answers == "text":
        return {}
    if config.answers == "object":
        return {"response_format": {"type": "json_object"}}
    wanted = {"name": name, "schema": schema, "strict": False}
    return {"response_format": {"type": "json_schema", "json_schema": wanted}}
