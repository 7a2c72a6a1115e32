"""Jobs: their states, what a failure leaves, how many are remembered."""

import asyncio
import threading
from typing import Any

import pytest

from afterview.configs import UsageError
from afterview.stream.service.errors import NotFound, Stopping, TooManyJobs
from afterview.stream.service.events import EventHub
from afterview.stream.service.jobs import KEPT, MOST_WAITING, Job, Jobs, Progress
from afterview.stream.service.people.access import owner


def refuse(job: Job, progress: Progress) -> dict[str, Any]:
    raise UsageError("no such span")


async def test_a_job_has_progress_a_result_and_events() -> None:
    hub = EventHub()
    jobs = Jobs(hub)

    def work(job: Job, progress: Progress) -> dict[str, Any]:
        progress(1, 4)
        return {"camera": job.camera}

    job = jobs.start("export", "yard", work)
    assert (job.state, job.to_dict()["progress"]) == ("waiting", None)
    await jobs.wait(job, 10)
    assert (job.state, job.result, job.to_dict()["progress"]) == ("done", {"camera": "yard"}, {"done": 4, "of": 4})
    states = [event.data["job"]["state"] for event in hub._kept]
    assert states[0] == "running"
    assert states[-1] == "done"
    with pytest.raises(NotFound):
        jobs.get("nothing", owner())


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (UsageError("no such span"), "usage", "no such span"),
        (OSError(28, "No space left on device", "f"), "system", "disk is full"),
        (ZeroDivisionError("secret detail"), "unexpected", "ZeroDivisionError"),
    ],
)
async def test_a_failure_is_the_job_s_state(error: Exception, kind: str, said: str) -> None:
    def work(job: Job, progress: Progress) -> dict[str, Any]:
        raise error

    jobs = Jobs(EventHub())
    job = jobs.start("keep", "yard", work)
    await jobs.wait(job, 10)
    assert job.error is not None
    assert (job.state, job.error["kind"]) == ("failed", kind)
    assert said in job.error["message"]
    assert "secret" not in job.error["message"]


async def test_waiting_jobs_are_bounded_and_ended_ones_forgotten() -> None:
    jobs, go = Jobs(EventHub()), threading.Event()

    def work(job: Job, progress: Progress) -> dict[str, Any]:
        go.wait(20)
        return {}

    try:
        running = [jobs.start("pause", "yard", work) for _ in range(2)]
        while not all(job.state == "running" for job in running):
            await asyncio.sleep(0.01)
        for _ in range(MOST_WAITING):
            jobs.start("pause", "yard", work)
        with pytest.raises(TooManyJobs):
            jobs.start("pause", "yard", work)
        waits = jobs.all(owner())[0]
        await jobs.wait(waits, 0.01)
        assert waits.state == "waiting"
    finally:
        go.set()
    await asyncio.gather(*jobs._tasks)
    for _ in range(KEPT // MOST_WAITING + 1):
        for _ in range(MOST_WAITING - 1):
            jobs.start("keep", "yard", refuse)
        await asyncio.gather(*jobs._tasks)
    jobs.start("keep", "yard", refuse)
    assert len(jobs.all(owner())) <= KEPT + 1


async def test_closing_refuses_new_jobs_and_waits_for_running_ones() -> None:
    jobs, go = Jobs(EventHub()), threading.Event()

    def work(job: Job, progress: Progress) -> dict[str, Any]:
        go.wait(20)
        return {"done": True}

    running = [jobs.start("pause", "yard", work) for _ in range(3)]
    while sum(job.state == "running" for job in running) < 2:
        await asyncio.sleep(0.01)
    closing = asyncio.create_task(jobs.close())
    await asyncio.sleep(0)
    go.set()
    await closing
    assert sorted(job.state for job in running) == ["done", "done", "failed"]
    with pytest.raises(Stopping):
        jobs.start("pause", "yard", work)
