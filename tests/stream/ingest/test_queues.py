"""Bounded queues: what each does when it is full, and what closing means."""

import os
import threading
import time

import pytest

from afterview.stream.ingest.cpu_affinity import pin_to_one_cpu
from afterview.stream.ingest.queues import Blocking, Closed, DropOldest


def test_drop_oldest_keeps_the_newest_and_counts() -> None:
    queue: DropOldest[int] = DropOldest(3)
    for number in range(10):
        queue.put(number)
    assert queue.take(10) == [7, 8, 9]
    assert queue.dropped == 7


def test_blocking_makes_the_producer_wait_and_drops_nothing() -> None:
    queue: Blocking[int] = Blocking(2)
    taken: list[int] = []

    def produce() -> None:
        for number in range(200):
            queue.put(number)
        queue.close()

    producer = threading.Thread(target=produce)
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

    producer = threading.Thread(target=produce)
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

    server = threading.Thread(target=serve)
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

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [before] if not 2 <= len(before) <= 4 else len(seen[0]) == 1
    assert os.sched_getaffinity(0) == before  # of that thread alone
