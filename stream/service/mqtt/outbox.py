"""What waits to be published: bounded, and with a policy for each kind of message.

States: the latest of each topic counts. Answers: kept until they are sent, or a minute has passed; when there are too many, the newest
is refused. Events: the oldest goes. Belongs to one event loop.
"""

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

MOST_ANSWERS = 1000
MOST_EVENTS = 256
ANSWER_LASTS_S = 60.0


@dataclass(frozen=True)
class Message:
    """What is published. correlation: of MQTT 5. made: monotonic seconds."""

    kind: Literal["state", "answer", "event"]
    topic: str
    payload: bytes
    qos: int = 1
    correlation: bytes | None = None
    made: float = field(default_factory=time.monotonic, compare=False)

    @property
    def retain(self) -> bool:
        """States stay at the broker for whoever subscribes later."""
        return self.kind == "state"


class Outbox:
    """dropped: messages that were never sent, by kind."""

    def __init__(self) -> None:
        self._states: OrderedDict[str, Message] = OrderedDict()
        self._sent: dict[str, int] = {}  # hash of the newest payload, by topic
        self._answers: deque[Message] = deque()
        self._errors: deque[Message] = (
            deque()
        )  # on a way of their own: they wait for no receipt of the broker, nor behind one
        self._events: deque[Message] = deque()
        self._wake, self._error_wake = asyncio.Event(), asyncio.Event()
        self.dropped: Counter[str] = Counter()

    def put_state(self, topic: str, payload: bytes, *, qos: int = 1) -> None:
        """A retained value; what is known there already is not sent again. Empty: the topic is cleared."""
        if self._sent.get(topic) == hash(payload):
            self._states.pop(topic, None)
            return
        self._states[topic] = Message("state", topic, payload, qos)
        self._wake.set()

    def put_answer(self, message: Message) -> None:
        """An answer to somebody, or (QoS 0) an error."""
        queue, wake = (self._answers, self._wake) if message.qos else (self._errors, self._error_wake)
        if len(queue) >= MOST_ANSWERS:
            self.dropped["answer"] += 1
            return
        queue.append(message)
        wake.set()

    def put_event(self, message: Message) -> None:
        """Something that happened."""
        if len(self._events) >= MOST_EVENTS:
            self._events.popleft()
            self.dropped["event"] += 1
        self._events.append(message)
        self._wake.set()

    def begin(self) -> None:
        """A new connection: nothing is known there, and old events are of no use."""
        self._states.clear()
        self._sent.clear()
        self.dropped["event"] += len(self._events)
        self._events.clear()

    def forget_sent(self, topic: str | None = None) -> None:
        """What comes now for a topic, or for all, is sent, known or not."""
        if topic is None:
            self._sent.clear()
        else:
            self._sent.pop(topic, None)

    async def wait(self) -> None:
        """Until there is something."""
        while not (self._answers or self._states or self._events):
            self._wake.clear()
            await self._wake.wait()

    async def wait_for_errors(self) -> None:
        """Until there is one."""
        while not self._errors:
            self._error_wake.clear()
            await self._error_wake.wait()

    def take_errors(self, most: int) -> list[Message]:
        """The next errors, as `take`."""
        return self._take(self._errors, most)

    def _take(self, queue: deque[Message], most: int) -> list[Message]:
        found: list[Message] = []
        while queue and len(found) < most:
            message = queue.popleft()
            if time.monotonic() - message.made > ANSWER_LASTS_S:
                self.dropped["answer"] += 1
            else:
                found.append(message)
        return found

    def take(self, most: int) -> list[Message]:
        """The next messages without errors, answers first. Give them back with `unsent` if they could not be sent."""
        found = self._take(self._answers, most)
        while self._states and len(found) < most:
            topic, message = self._states.popitem(last=False)
            self._sent[topic] = hash(message.payload)
            found.append(message)
        while self._events and len(found) < most:
            found.append(self._events.popleft())
        return found

    def unsent(self, messages: Sequence[Message]) -> None:
        """The connection broke: answers wait for the next one; states are told anew there; events are lost."""
        for message in reversed(messages):
            if message.kind == "answer":
                (self._answers if message.qos else self._errors).appendleft(message)
        self.dropped["event"] += sum(message.kind == "event" for message in messages)
