"""Bounded queues: what each does when it is full, and what closing means."""

import os
import threading
import time

import pytest

from afterview.memory.base.records import GapReason
from afterview.stream.ingest.cpu_affinity import pin_to_one_cpu
from afterview.stream.ingest.items import Dropped, Interruption, Marker
from afterview.stream.ingest.queues import Blocking, Closed, DropOldest


def test_drop_oldest_keeps_the_newest_and_says_in_their_place_how_many_went() -> None:
    queue: DropOldest[int | Marker] = DropOldest(3)
    for number in range(10):
        queue.put(number)
    assert queue.take(10) == [Dropped(7), 7, 8, 9]
    assert queue.dropped == 7


def test_notices_are_never_dropped_and_stay_between_their_frames() -> None:
    lost, paused = Interruption("lost"), Interruption("paused")
    queue: DropOldest[int | Marker] = DropOldest(2)
    for item in (0, lost, 1, 2):
        queue.put(item)
    assert queue.take(10) == [Dropped(1), lost, 1, 2]
    for item in (lost, 3, 4, paused, 5, 6):
        queue.put(item)
    assert queue.take(10) == [lost, Dropped(2), 5, 6]  # what no frame separates is one interruption
    for number in range(1000):
        queue.put(lost)
        queue.put(number)
    assert queue.take(10) == [lost, Dropped(998), 998, lost, 999]


def test_a_drop_has_the_reason_of_its_moment() -> None:
    reasons: list[GapReason] = ["disk full"]
    queue: DropOldest[int | Marker] = DropOldest(1, reason=lambda: reasons[-1])
    queue.put(0)
    queue.put(1)
    reasons.append("dropped")
    queue.put(2)
    assert queue.take(10) == [Dropped(2, "disk full"), 2]
    queue.put(3)
    queue.put(4)
    assert queue.take(10) == [Dropped(1), 4]


def test_a_consumer_that_waits_is_woken_for_other_work() -> None:
    queue: Blocking[int] = Blocking(2)
    queue.wake()
    assert queue.take() == []  # at once
    threading.Timer(0.05, queue.wake).start()
    assert queue.take(timeout=20) == []
    threading.Timer(0.05, queue.wake).start()
    queue.put(1)
    queue.wait_for_wake(20)
    assert queue.take() == [1]


def test_blocking_makes_the_producer_wait_and_drops_nothing() -> None:
    queue: Blocking[int] = Blocking(2)
    taken: list[int] = []

    def produce() -> None:
        for number in range(200):
            queue.put(number)
        queue.close()

    producer = threading.Thread(target=produce, daemon=True)
    producer.start()
    time.sleep(0.05)
    assert len(queue) == 2  # the producer waits
    while not queue.ended:
        taken += queue.take(7, timeout=5)
    producer.join(5)
    assert taken == list(range(200))
    assert queue.dropped == 0


def test_closing_frees_a_waiting_producer_and_keeps_what_is_inside() -> None:
    queue: Blocking[int] = Blocking(1)
    queue.put(1)
    outcome: list[str] = []

    def produce() -> None:
        try:
            queue.put(2)
        except Closed:
            outcome.append("closed")

    producer = threading.Thread(target=produce, daemon=True)
    producer.start()
    time.sleep(0.05)
    queue.close()
    producer.join(5)
    assert outcome == ["closed"]
    assert not queue.ended
    assert queue.take() == [1]
    assert queue.ended
    with pytest.raises(Closed):
        queue.take()
    with pytest.raises(Closed):
        queue.put(3)


def test_take_gives_up_after_its_timeout() -> None:
    assert Blocking[int](1).take(timeout=0.01) == []


def test_queues_can_share_a_condition() -> None:
    work = threading.Condition()
    first: DropOldest[int] = DropOldest(2, work)
    second: Blocking[int] = Blocking(2, work)
    seen: list[int] = []

    def serve() -> None:
        with work:
            while len(seen) < 2:
                seen.extend(first.take_now(5) + second.take_now(5))
                if len(seen) < 2:
                    work.wait(5)

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    first.put(1)
    second.put(2)
    server.join(5)
    assert sorted(seen) == [1, 2]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processor affinity on this system")
def test_a_thread_keeps_to_one_of_few_processors() -> None:
    before, seen = os.sched_getaffinity(0), []

    def run() -> None:
        pin_to_one_cpu()
        seen.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    assert seen == [before] if not 2 <= len(before) <= 4 else len(seen[0]) == 1
    assert os.sched_getaffinity(0) == before  # of that thread alone
