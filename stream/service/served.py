"""A camera of the service, and what is said of it."""

import asyncio
import re
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

from afterview.memory.base.iso_times import with_iso
from afterview.memory.writing.repository import Repository
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.ingest.status import CameraStatus
from afterview.stream.service.cameras import shown_source
from afterview.stream.service.config import CameraConfig, require_name

ModelState = Literal["loading", "ready", "failed"]
Origin = Literal["configuration", "api"]
FIRST_RETRY_S, _LONGEST_RETRY_S = 2.0, 60.0
_NEXT_TRY = re.compile(r"; next try in .*")


@dataclass
class ServedCamera:
    """A camera that the service records, or tries to. failure: why it is not recorded now. since: of `failure`, Unix seconds."""

    id: str
    name: str
    config: CameraConfig
    origin: Origin
    ingest: CameraIngest | None = None
    failure: str = ""
    since: float = field(default_factory=time.time)
    retry: asyncio.TimerHandle | None = None
    delay_s: float = FIRST_RETRY_S
    _said: tuple[str, str] = ("", "")

    def next_delay(self) -> float:
        """Seconds until the next try; each one waits longer than the last."""
        delay, self.delay_s = self.delay_s, min(2 * self.delay_s, _LONGEST_RETRY_S)
        return delay

    def recovered(self) -> None:
        """The next failure is tried again soon."""
        self.delay_s = FIRST_RETRY_S

    def is_news(self, status: CameraStatus) -> bool:
        """Whether a status says more than the last one that was asked about: a source that is down for days says the same at each try."""
        said = (status.state, _NEXT_TRY.sub("", status.cause or status.detail))
        before, self._said = self._said, said
        return before != said

    def to_dict(self, model: ModelState) -> dict[str, Any]:
        """As JSON: what it records, and how that goes."""
        document: dict[str, Any] = {
            "camera": self.id, "name": self.name, "source": shown_source(self.config), "origin": self.origin,
        }  # fmt: skip
        if self.ingest is not None:
            status = {**document, **self.ingest.status().to_dict(), "camera": self.id}
            return dict(with_iso(status, {}, self.ingest.repository.info))
        detail = self.failure or ("the model is loading" if model == "loading" else "")
        nothing = dict.fromkeys(("last_time", "last_time_iso", "lag_s")) | dict.fromkeys(
            ("recorded", "dropped", "reconnects"), 0
        )
        state = "failed" if self.failure else "starting"
        return {**document, **nothing, "state": state, "cause": self.failure or None, "detail": detail}


def same_source(before: CameraConfig, after: CameraConfig) -> bool:
    """Whether two configurations differ in settings at most, which can change while a camera is recorded."""
    settings = dict.fromkeys(("paused", "masks", "retain"))
    return before.model_copy(update=settings) == after.model_copy(update=settings)


def served_cameras(
    added: Mapping[str, CameraConfig], configured: Mapping[str, CameraConfig]
) -> dict[str, ServedCamera]:
    """By id: the cameras that were added by the API, and those of the configuration file, which count where both name one."""
    origins: tuple[tuple[Origin, Mapping[str, CameraConfig]], ...] = (("api", added), ("configuration", configured))
    both = {name: (camera, origin) for origin, cameras in origins for name, camera in cameras.items()}
    found = (ServedCamera(require_name(name), name, camera, origin) for name, (camera, origin) in both.items())
    return {camera.id: camera for camera in found}


def close_unused(opening: "Future[tuple[IngestConfig, Repository]]") -> None:
    """Close a camera that was opened for a service that is ending."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[1].close()
