"""The configuration of `afterview serve`: a YAML file, read strictly. Errors name the line, the key and the remedy, and never a secret.

Everything has a default but a camera's `source`. Relative paths are relative to the file.
"""

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from afterview.configs import ConfigError, Schema, UsageError, load_mapping, read_yaml
from afterview.memory.base.camera import camera_id
from afterview.memory.base.settings import Polygon
from afterview.memory.base.typed_times import find_zone
from afterview.stream.service.answer_with_config import AnswerWithConfig
from afterview.stream.service.host_names import require_host
from afterview.stream.service.mqtt_config import MqttConfig
from afterview.stream.service.openai_config import OpenAiConfig
from afterview.stream.source.address.redact import redact
from afterview.stream.source.config import Decode, Transport

LONGEST_NAME = 200  # characters of a camera's name
_LARGEST_IMAGE = 4320  # pixels, short side: 8K


class RetainConfig(Schema):
    """How long frames of a camera are kept. What is left out keeps its present value."""

    days: float | None = Field(default=None, gt=0, description="Frames older than this are evicted.")
    gigabytes: float | None = Field(default=None, gt=0, description="Beyond so many 1e9 bytes the oldest frames go.")
    coarse_days: float | None = Field(
        default=None, gt=0, description="Frames older than this keep a quarter of their tokens."
    )


class CameraConfig(Schema):
    """One camera. Only `source` is needed; what is left out stays as it is, or has the default of `afterview watch`."""

    source: str = Field(
        min_length=1,
        max_length=4096,
        description="Address, such as rtsp://user:{AFTERVIEW_DOOR}@10.0.0.7/stream. {AFTERVIEW_...} stands for the variable of that "
        "name, or for the content of the file that AFTERVIEW_..._FILE names.",
        examples=["rtsp://viewer:{AFTERVIEW_DOOR}@10.0.0.7/stream"],
    )
    paused: bool | None = Field(default=None, description="Whether nothing is recorded.")
    masks: tuple[Polygon, ...] | None = Field(
        default=None, description="Polygons of (x, y) from 0 to 1 that are blacked out before anything is stored."
    )
    retain: RetainConfig | None = Field(default=None, description="How long frames are kept.")
    fps: float | None = Field(
        default=None, ge=1 / 86_400, le=1000, description="Frames kept per second of video; 1 for a new camera."
    )
    zone: str | None = Field(default=None, description="Time zone of a new camera, such as Europe/Berlin.")
    transport: Transport = Field(default="tcp", description="How RTSP sends its pictures.")
    decode: Decode = Field(default="needed", description="Which pictures are decoded.")
    stream: int | None = Field(default=None, ge=0, description="Which video stream of the source, counted from 0.")
    image_size: int | None = Field(
        default=None, ge=1, le=_LARGEST_IMAGE, description="Short side of stored images, pixels."
    )
    reuse_features: float | None = Field(
        default=None, ge=0, le=32, allow_inf_nan=False,
        description="Grey levels by which a frame may differ from one whose features it reuses; off without it.",
    )  # fmt: skip

    @field_validator("masks")
    @classmethod
    def _polygons(cls, masks: tuple[Polygon, ...] | None) -> tuple[Polygon, ...] | None:
        for polygon in masks or ():
            if len(polygon) < 3:
                raise ValueError(f"a polygon needs 3 corners, got {len(polygon)}")
            if not all(0 <= value <= 1 for corner in polygon for value in corner):
                raise ValueError("corners are fractions of the picture, x and y from 0 to 1")
        return masks

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str | None) -> str | None:
        return _checked_zone(zone)


class TlsConfig(Schema):
    """Certificate and key, both PEM files, or neither."""

    certificate: Path | None = None
    key: Path | None = None


class HttpConfig(Schema):
    """Where the HTTP API listens, and who may use it."""

    bind: str = Field(
        default="127.0.0.1", description="Address to listen on. Any other than loopback needs a token or an admin."
    )
    port: int = Field(default=8077, ge=0, le=65535, description="TCP port; 0: a free one.")
    token_file: Path | None = Field(
        default=None, description="File (mode 600) with the token; or set the variable AFTERVIEW_TOKEN."
    )
    tls: TlsConfig = TlsConfig()
    session_hours: float = Field(
        default=168.0, gt=0, le=8760, description="How long a sign-in lasts; a restart ends all of them, too."
    )
    trusted_proxies: tuple[str, ...] = Field(
        default=(),
        description="Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto count, such as 127.0.0.1.",
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(), description="Further host names by which clients reach the service, such as nvr.home."
    )
    longest_queue: int = Field(default=16, ge=1, le=1000, description="Questions that may wait; more get 429.")
    most_connections: int = Field(default=512, ge=8, le=65535, description="Connections at once.")
    header_timeout_s: float = Field(default=10.0, gt=0, le=600, description="For the whole head of a request.")
    body_timeout_s: float = Field(default=20.0, gt=0, le=600, description="For the whole body of a request.")

    @field_validator("allowed_hosts")
    @classmethod
    def _host_names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(require_host(host) for host in hosts)

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            ipaddress.ip_network(proxy, strict=False)  # its errors name the text
        return proxies


class ServiceConfig(Schema):
    """The whole file."""

    memory: Path | None = Field(default=None, description="Directory; default as for every command.")
    model: str | None = Field(
        default=None,
        description="Preset, directory or hub id; default: the one that the memory was recorded with, else tiny.",
    )
    zone: str | None = Field(default=None, description="Time zone of new cameras; default: this machine's.")
    cameras: dict[str, CameraConfig] = Field(default_factory=dict, description="By name.")
    http: HttpConfig = HttpConfig()
    openai: OpenAiConfig = OpenAiConfig()
    mqtt: MqttConfig | None = Field(default=None, description="Left out: no MQTT.")
    answer_with: AnswerWithConfig | None = Field(
        default=None, description="Left out: the built-in model answers, and no frame leaves this machine."
    )

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str | None) -> str | None:
        return _checked_zone(zone)

    @field_validator("cameras")
    @classmethod
    def _different_cameras(cls, cameras: dict[str, CameraConfig]) -> dict[str, CameraConfig]:
        ids: dict[str, str] = {}
        for name in cameras:
            other = ids.setdefault(require_name(name), name)
            if other != name:
                raise ValueError(f"'{other}' and '{name}' would both be camera '{camera_id(name)}'; rename one")
        return cameras


def require_name(name: str) -> str:
    """The id of a camera's name. Raises ValueError for a name that no camera can have."""
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise ValueError(f"a name has at most {LONGEST_NAME} characters, and no control characters")
    try:
        return camera_id(name)
    except UsageError as error:
        raise ValueError(str(error)) from None


def _checked_zone(zone: str | None) -> str | None:
    try:
        if zone is not None:
            find_zone(zone)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return zone


def load_service_config(path: Path) -> ServiceConfig:
    """Read a file. Raises ConfigError: `home.yaml, line 7: cameras.door.sorce: unknown key; did you mean 'source'?`"""
    values = read_yaml(path)
    try:
        config = load_mapping({} if values is None else values, ServiceConfig, source=path.name, place=_lines(path))
    except ConfigError as error:
        raise ConfigError(redact(str(error))) from None
    return _from_directory(config, path.absolute().parent)


def _from_directory(config: ServiceConfig, directory: Path) -> ServiceConfig:
    """The configuration with its relative paths under the file's directory."""

    def absolute(path: Path | None) -> Path | None:
        return None if path is None else directory / path.expanduser()

    tls = TlsConfig(certificate=absolute(config.http.tls.certificate), key=absolute(config.http.tls.key))
    http = config.http.model_copy(update={"token_file": absolute(config.http.token_file), "tls": tls})
    mqtt = config.mqtt and config.mqtt.from_directory(directory)
    openai = config.openai.from_directory(directory)
    own = config.answer_with and config.answer_with.from_directory(directory)
    changed = {"memory": absolute(config.memory), "http": http, "openai": openai, "mqtt": mqtt, "answer_with": own}
    return config.model_copy(update=changed)


def _lines(path: Path) -> Callable[[Sequence[str]], str]:
    """Says where a key stands in a YAML file, `, line 7`; for a key that is missing, where its parent stands."""
    import yaml  # late: as the loader

    root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)

    def place(location: Sequence[str]) -> str:
        node, line = root, 1
        for part in location:
            if isinstance(node, yaml.MappingNode):
                found = next(((key, value) for key, value in node.value if key.value == part), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
                node = node.value[int(part)]
                line = node.start_mark.line + 1
            else:
                break
        return f", line {line}"

    return place


def settings_of(camera: CameraConfig) -> dict[str, Any]:
    """What the configuration says of a camera's settings; nothing for what it leaves out. Pure."""
    values: dict[str, Any] = {}
    if camera.paused is not None:
        values["paused"] = camera.paused
    if camera.masks is not None:
        values["masks"] = [[list(corner) for corner in polygon] for polygon in camera.masks]
    if camera.retain is not None:
        values |= camera.retain.model_dump(exclude_unset=True)
    return values


Change = Literal["added", "changed", "removed"]


def camera_changes(before: Mapping[str, CameraConfig], after: Mapping[str, CameraConfig]) -> dict[str, Change]:
    """What a new configuration changes, by camera, in the order of the new one, then those that are gone. Pure."""
    changes: dict[str, Change] = {}
    for name, camera in after.items():
        if name not in before:
            changes[name] = "added"
        elif before[name] != camera:
            changes[name] = "changed"
    return changes | dict.fromkeys((name for name in before if name not in after), "removed")


def needs_restart(before: ServiceConfig, after: ServiceConfig) -> list[str]:
    """The keys whose new values count only after a restart. Pure."""
    keys = ("memory", "model", "zone", "openai")
    names = [name for name in keys if getattr(before, name) != getattr(after, name)]
    http = [
        f"http.{name}" for name in HttpConfig.model_fields if getattr(before.http, name) != getattr(after.http, name)
    ]
    return names + http


def json_schema() -> dict[str, Any]:
    """The JSON schema of the file, for editors."""
    schema = ServiceConfig.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Afterview service"}
