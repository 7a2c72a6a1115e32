"""What the service shows by MQTT: states of cameras, statistics, the newest evidence, and the devices of Home Assistant.

Everything is a retained topic. Only cameras that the account may see are shown. Belongs to the event loop; files are read in the engine's
threads.
"""

import logging
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from afterview.configs import AfterviewError
from afterview.memory.base.settings import read_settings
from afterview.stream.ask.frame_images import image_of
from afterview.stream.service.engine import Engine
from afterview.stream.service.measured import Measured
from afterview.stream.service.mqtt.discovery import Devices
from afterview.stream.service.mqtt.outbox import Outbox
from afterview.stream.service.mqtt.payloads import as_json, attributes, last_answer
from afterview.stream.service.mqtt.topics import Topics, level_of
from afterview.stream.service.people.access import Access
from afterview.stream.service.served import ServedCamera

LARGEST_PICTURE = 512 * 1024  # bytes; larger ones are made smaller
_SMALLER = 480  # pixels, short side

_LOGGER = logging.getLogger(__name__)


class Shown:
    """evidence: the frame of each camera whose picture is published: `frame`, `time`, `answer`."""

    def __init__(
        self, engine: Engine, measured: Measured, outbox: Outbox, topics: Topics, access: Access, instance: str, *, commands: bool
    ) -> None:  # fmt: skip
        self._engine, self._measured, self._outbox = engine, measured, outbox
        self._topics, self._access, self._instance = topics, access, instance
        self._devices = Devices(topics, engine.version, commands) if topics.discovery else None
        self._shown: set[str] = set()
        self.evidence: dict[str, dict[str, Any]] = {}

    def cameras(self) -> dict[str, ServedCamera]:
        """Those that are shown, by id."""
        return {camera.id: camera for camera in self._engine.cameras.values() if self._access.sees(camera.id)}

    def camera_at(self, level: str) -> ServedCamera | None:
        """The camera whose topics have this level."""
        return next((camera for camera in self.cameras().values() if level_of(camera.id) == level), None)

    def announce(self) -> None:
        """Tell Home Assistant of all devices."""
        if self._devices is None:
            return
        self._outbox.put_state(self._devices.topic(self._devices.service_id), as_json(self._devices.service()))
        for camera in self.cameras().values():
            self._announce(camera)

    def _announce(self, camera: ServedCamera) -> None:
        if self._devices is not None:
            topic = self._devices.topic(self._devices.camera_id(camera.id))
            self._outbox.put_state(topic, as_json(self._devices.camera(camera.id, camera.name)))

    async def everything(self) -> None:
        """Tell all there is."""
        self.announce()
        await self.refresh()
        await self.statistics()

    async def refresh(self, only: Iterable[str] | None = None) -> None:
        """Tell the states of all cameras, or of some; those that are gone are removed."""
        for gone in self._shown - set(self.cameras()):
            self.remove_device(gone)
            self.remove(level_of(gone))
            self._shown.discard(gone)
            self.evidence.pop(gone, None)
        chosen = [camera for camera in self.cameras().values() if only is None or camera.id in only]
        path = self._engine.path

        def read() -> dict[str, bool]:
            return {camera.id: paused for camera in chosen if (paused := _paused(path / camera.id)) is not None}

        paused = await self._engine.read(read)
        for camera in chosen:
            if self._engine.cameras.get(camera.id) is not camera:
                continue  # gone, or another one by now
            self._shown.add(camera.id)
            self._announce(camera)
            self._tell(camera, paused.get(camera.id))

    def _tell(self, camera: ServedCamera, paused: bool | None) -> None:
        def put(rest: str, payload: bytes, qos: int = 1) -> None:
            self._outbox.put_state(self._topics.of_camera(camera.id, rest), payload, qos=qos)

        document = camera.to_dict(self._engine.model_state)
        put("state", str(document["state"]).encode())
        put("attributes", as_json(attributes(document, self._instance, self.evidence.get(camera.id))))
        if document.get("last_time_iso"):
            put("last_frame", str(document["last_time_iso"]).encode(), 0)
        if paused is not None:
            put("paused/state", b"ON" if paused else b"OFF")

    def remove(self, level: str) -> None:
        """Clear whatever is known of a camera, by the level of its topics."""
        for topic in self._topics.all_of_level(level):
            self._outbox.put_state(topic, b"")

    def remove_device(self, camera: str, discovery: str | None = None) -> None:
        """Take a camera away from Home Assistant. discovery: the prefix, if it is not the present one."""
        prefix = discovery or self._topics.discovery
        if prefix:
            devices = Devices(Topics(self._topics.prefix, prefix), self._engine.version)
            self._outbox.put_state(devices.topic(devices.camera_id(camera)), b"")

    def remove_all(self, discovery: str | None = None) -> None:
        """Take everything away from Home Assistant (discovery: that former prefix), or everything at all."""
        prefix = discovery or self._topics.discovery
        for camera in {*self._shown, *self.cameras()}:
            self.remove_device(camera, prefix)
            if discovery is None:
                self.remove(level_of(camera))
        if prefix:
            devices = Devices(Topics(self._topics.prefix, prefix), self._engine.version)
            self._outbox.put_state(devices.topic(devices.service_id), b"")
        if discovery is None:
            for word in ("statistics", "last_answer", "instance", "available"):
                self._outbox.put_state(self._topics.of(word), b"")

    async def statistics(self) -> None:
        """Tell how the service is."""
        engine, now = self._engine, time.time()
        free = await engine.read(lambda: _free_bytes(engine))
        cameras = {}
        for camera in self.cameras().values():
            document = camera.to_dict(engine.model_state)
            cameras[camera.id] = {
                name: document.get(name)
                for name in ("state", "recorded", "dropped", "reconnects", "lag_s", "last_time")
            }
        document = {
            "version": engine.version,
            "time": round(now, 3),
            "uptime_s": round(now - engine.began),
            "model": {"state": engine.model_state},
            "disk": {"free_gigabytes": None if free is None else round(free / 1e9, 2)},
            "loop_lag_s": round(self._measured.loop_lag_s, 4),
            "cameras": cameras,
        }
        if self._access.cameras is None:
            document["questions"] = {"waiting": engine.line.waiting, **self._measured.questions}
        self._outbox.put_state(self._topics.of("statistics"), as_json(document), qos=0)

    async def show_answer(self, document: Mapping[str, Any]) -> None:
        """Tell the last answer, and the picture of each camera that it rests on most."""
        self._outbox.put_state(self._topics.of("last_answer"), as_json(last_answer(document)))
        best: dict[str, Mapping[str, Any]] = {}
        for item in document.get("evidence", []):  # heaviest first
            if item["camera"] in self.cameras():
                best.setdefault(item["camera"], item)
        pictures = await self._engine.read(
            lambda: self._pictures([(name, item["frame"]) for name, item in best.items()])
        )
        for name, picture in pictures.items():
            self.evidence[name] = {
                "frame": best[name]["frame"],
                "time": best[name]["time"],
                "answer": document.get("id"),
            }
            self._outbox.put_state(self._topics.of_camera(name, "evidence"), picture)
        await self.refresh(pictures)

    async def check_evidence(self) -> None:
        """Clear the pictures of frames that are no longer remembered: what is forgotten must not stay at the broker."""
        known = [(camera, item["frame"]) for camera, item in self.evidence.items()]
        if not known:
            return
        there = await self._engine.read(lambda: self._pictures(known, small=False))
        for camera, _ in known:
            if camera not in there:
                self.evidence.pop(camera, None)
                self._outbox.put_state(self._topics.of_camera(camera, "evidence"), b"")
        await self.refresh([camera for camera, _ in known if camera not in there])

    def forget_evidence(self) -> None:
        """Clear the pictures of which nothing is known, after a restart."""
        for camera in self.cameras():
            if camera not in self.evidence:
                self._outbox.put_state(self._topics.of_camera(camera, "evidence"), b"")

    def _pictures(self, frames: Sequence[tuple[str, int]], *, small: bool = True) -> dict[str, bytes]:
        """The picture of one frame for each camera, where there is one. In a thread."""
        found = {}
        for camera, frame in frames:
            try:
                picture, why = image_of(self._engine.view(self._access).camera(camera).snapshot(), frame)
                picture = _bounded(picture) if small else picture
            except (AfterviewError, OSError, ValueError) as error:
                picture, why = b"", str(error)
            if picture:
                found[camera] = picture
            else:
                _LOGGER.debug("%s: no evidence picture: %s", camera, why)
        return found


def _bounded(picture: bytes) -> bytes:
    if len(picture) <= LARGEST_PICTURE:
        return picture
    from afterview.stream.media import decode_jpeg, encode_jpeg  # late: loads av

    smaller = encode_jpeg(decode_jpeg(picture), _SMALLER)
    return smaller if len(smaller) <= LARGEST_PICTURE else b""


def _paused(directory: Path) -> bool | None:
    try:
        return read_settings(directory).paused
    except (AfterviewError, OSError):
        return None  # the camera's state says so


def _free_bytes(engine: Engine) -> int | None:
    try:
        return shutil.disk_usage(engine.path).free
    except OSError:
        return None
