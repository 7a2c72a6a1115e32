"""Changes of a memory that take a while, as jobs: forget, keep, pause, mask, retain, export.

Threads: `job-N` execute them, through the control socket of the camera where it is recorded; the registry belongs to the event loop.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from afterview.configs import AfterviewError
from afterview.configs.errors import error_kind
from afterview.configs.system_errors import describe
from afterview.stream.service.errors import NotFound, Stopping, TooManyJobs
from afterview.stream.service.events import EventHub
from afterview.stream.service.people.access import Access, owner
from afterview.stream.service.people.audit import Audit

JobState = Literal["waiting", "running", "done", "failed"]
JobKind = Literal["forget", "keep", "pause", "mask", "retain", "export"]
Progress = Callable[[int, int], None]  # done, in all
Work = Callable[["Job", Progress], dict[str, Any]]

KEPT = 200  # jobs that have ended
MOST_WAITING = 100
_AT_ONCE = 2
_TELL_EVERY_S = 0.5

_LOGGER = logging.getLogger(__name__)


@dataclass
class Job:
    """One change. camera: "" for the whole memory. progress: done and in all, once that is known. result: JSON. error: kind and message.

    user: who started it.
    """

    id: str
    kind: JobKind
    camera: str
    user: str = ""
    created: float = field(default_factory=time.time)
    ended: float | None = None
    state: JobState = "waiting"
    progress: tuple[int, int] | None = None
    result: dict[str, Any] | None = None
    error: dict[str, str] | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        progress = None if self.progress is None else {"done": self.progress[0], "of": self.progress[1]}
        return {
            "id": self.id,
            "kind": self.kind,
            "camera": self.camera or None,
            "state": self.state,
            "created": self.created,
            "ended": self.ended,
            "progress": progress,
            "result": self.result,
            "error": self.error,
        }


class Jobs:
    """Executes jobs, and remembers the latest."""

    def __init__(self, hub: EventHub, audit: Audit | None = None, memory: Path | None = None) -> None:
        """memory: its place on this machine, which errors do not tell: every user who may see the camera reads them."""
        self._hub, self._audit = hub, audit
        self._place = str(memory) if memory is not None and memory.is_absolute() else ""
        self._jobs: dict[str, Job] = {}
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="job")
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def start(self, kind: JobKind, camera: str, work: Work, access: Access | None = None, **asked: Any) -> Job:
        """Queue a job. work: called in a thread; its result is the job's. access: who wants it, the owner by default. asked: for the
        audit. Raises TooManyJobs, Stopping."""
        if self._closed:
            raise Stopping("the service is ending")
        if sum(job.state == "waiting" for job in self._jobs.values()) >= MOST_WAITING:
            raise TooManyJobs(f"{MOST_WAITING} jobs are waiting; try again when some of them have ended")
        who = access or owner()
        job = Job(uuid.uuid4().hex[:12], kind, camera, who.user)
        self._jobs[job.id] = job
        self._note(job, who, outcome="started", **asked)
        task = asyncio.get_running_loop().create_task(self._run(job, work, who))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._forget_old()
        return job

    def get(self, identity: str, access: Access) -> Job:
        """A job of a camera that the client may see. Raises NotFound."""
        if identity not in self._jobs or not access.sees(self._jobs[identity].camera):
            raise NotFound(f"no job '{identity}'; the service remembers the latest {KEPT}")
        return self._jobs[identity]

    def all(self, access: Access) -> list[Job]:
        """Those of the cameras that the client may see, newest first."""
        return [job for job in reversed(self._jobs.values()) if access.sees(job.camera)]

    def started_by(self, user: str, kind: JobKind, within_s: float) -> int:
        """How many jobs of a kind a user has that wait, run, or have succeeded not longer ago."""
        oldest = time.time() - within_s
        own = [job for job in self._jobs.values() if (job.user, job.kind) == (user, kind) and job.state != "failed"]
        return sum(job.ended is None or job.ended > oldest for job in own)

    async def wait(self, job: Job, seconds: float) -> None:
        """Wait until a job has ended, so many seconds at most."""
        if seconds > 0:
            try:
                await asyncio.wait_for(job.over.wait(), seconds)
            except TimeoutError:
                pass

    async def close(self) -> None:
        """Wait until the running jobs have ended; the waiting ones are refused."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, job: Job, work: Work, who: Access) -> None:
        loop = asyncio.get_running_loop()
        told = [0.0]

        def progress(done: int, of: int) -> None:  # in the job's thread
            job.progress = (done, of)
            if time.monotonic() - told[0] >= _TELL_EVERY_S:
                told[0] = time.monotonic()
                loop.call_soon_threadsafe(self._tell, job)

        def execute() -> dict[str, Any]:
            job.state = "running"
            loop.call_soon_threadsafe(self._tell, job)
            return work(job, progress)

        try:
            job.result = await loop.run_in_executor(self._pool, execute)
            job.state = "done"
            job.progress = job.progress and (job.progress[1], job.progress[1])
        except asyncio.CancelledError:
            job.state, job.error = "failed", {"kind": "stopping", "message": "the service ended before"}
        except Exception as error:
            job.state, job.error = "failed", _describe(error)
            if self._place:
                job.error["message"] = job.error["message"].replace(self._place, "the memory")
            if not isinstance(error, AfterviewError | OSError):
                _LOGGER.exception("job %s (%s of %s) failed", job.id, job.kind, job.camera or "the memory")
        job.ended = time.time()
        job.over.set()
        self._tell(job)
        self._note(job, who, outcome=job.state, error=job.error and job.error["kind"])

    def _note(self, job: Job, who: Access, **more: Any) -> None:
        if self._audit is not None:
            self._audit.note(who, job.kind, cameras=[job.camera] if job.camera else [], job=job.id, **more)

    def _tell(self, job: Job) -> None:
        self._hub.publish("job", {"job": job.to_dict()})

    def _forget_old(self) -> None:
        ended = [identity for identity, job in self._jobs.items() if job.ended is not None]
        for identity in ended[: max(0, len(ended) - KEPT)]:
            del self._jobs[identity]


def _describe(error: Exception) -> dict[str, str]:
    if isinstance(error, AfterviewError):
        return {"kind": error_kind(error), "message": str(error)}
    if isinstance(error, OSError):
        return {"kind": "system", "message": describe(error)}
    return {"kind": "unexpected", "message": f"{type(error).__name__}; the service's log has more"}
