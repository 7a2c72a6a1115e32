"""All checks, in order. Cameras are watched side by side while the others run; every check has a limit of time."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from afterview.configs import AfterviewError
from afterview.memory.base.counts import counted
from afterview.model.base.machine import this_machine
from afterview.stream.doctor import machine, places
from afterview.stream.doctor.cameras import check_camera
from afterview.stream.doctor.findings import Check, Finding, from_error, start
from afterview.stream.service.config import ServiceConfig, load_service_config
from afterview.stream.service.http_address import is_loopback
from afterview.stream.service.secrets import SecretVariables, read_token, require_token

_OPEN_S = 30.0  # of a camera, beside the seconds of watching: two connections, each with its timeouts
_FSCK_S, _DISK_S, _SHORT_S = 60.0, 20.0, 10.0


def read_configuration(file: Path) -> tuple[ServiceConfig, Finding]:
    """A configuration of the service, or the defaults where it cannot be read, and what was found."""
    try:
        config = load_service_config(file)
    except AfterviewError as error:
        wrong = Finding("configuration", "problem", str(error), "correct it; its cameras are not checked until then")
        return ServiceConfig(), wrong
    try:
        require_token(read_token(config.http.token_file), config.http.bind, loopback=is_loopback(config.http.bind))
    except AfterviewError as error:
        return config, from_error("configuration", str(error))
    text = f"{file}: {counted(len(config.cameras), 'camera')}"
    return config, Finding("configuration", "ok", text, values={"cameras": len(config.cameras)})


def examine(config: ServiceConfig, memory: Path, seconds: float) -> Iterator[Finding]:
    """The findings of all checks as they come. seconds: how long each camera is watched, per connection."""
    limit_s = _OPEN_S + 2 * seconds
    waiting = [
        start(f"camera {name}", partial(check_camera, name, camera, seconds, SecretVariables()))
        for name, camera in config.cameras.items()
    ]
    for name, check, most_s in _checks(config, memory):
        yield from start(name, check)(most_s)
    for wait in waiting:
        yield from wait(limit_s)


def _checks(config: ServiceConfig, memory: Path) -> Iterator[tuple[str, Check, float]]:
    recorded, index = places.recorded_model(memory)
    model = config.model or recorded or "tiny"
    yield "python", machine.check_python, _SHORT_S
    yield "processor", lambda: machine.check_processor(this_machine()), _SHORT_S
    yield "ffmpeg", machine.check_ffmpeg, _SHORT_S
    yield "clock", lambda: machine.check_clock(places.newest_frame(memory)), _SHORT_S
    yield "disk", lambda: places.check_disk(memory), _DISK_S
    yield "memory", lambda: places.check_memory(memory), _FSCK_S
    yield "weights", lambda: places.check_weights(model, index), _SHORT_S
    yield "hub", lambda: places.check_hub(model), _SHORT_S
    yield "port", lambda: places.check_port(config.http), _SHORT_S
