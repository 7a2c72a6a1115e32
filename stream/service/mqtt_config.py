"""The section `mqtt` of the service's configuration: which broker, under which topics, and what its clients may."""

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from afterview.configs import Schema
from afterview.memory.base.camera import camera_id
from afterview.stream.service.host_names import require_host

Protocol = Literal["5", "3.1.1"]
_LONGEST_PREFIX = 64  # characters
_LEVEL = re.compile(r"[\w.-]+")


class MqttTlsConfig(Schema):
    """TLS to the broker. `tls: {}` checks its certificate against the authorities of this machine."""

    ca: Path | None = Field(default=None, description="PEM file with the authorities that may vouch for the broker.")
    certificate: Path | None = Field(default=None, description="PEM file by which the service shows who it is.")
    key: Path | None = Field(default=None, description="Key of that certificate, PEM without a password.")
    insecure: bool = Field(default=False, description="Accept any certificate: whoever is on the way can read along.")

    @model_validator(mode="after")
    def _both_or_neither(self) -> "MqttTlsConfig":
        if (self.certificate is None) != (self.key is None):
            raise ValueError("give both certificate and key, or neither")
        return self


class MqttConfig(Schema):
    """One broker. Whoever may publish and subscribe there has the rights of one account: see `cameras` and `commands`."""

    host: str = Field(min_length=1, max_length=253, description="Name or address of the broker.")
    port: int | None = Field(default=None, ge=1, le=65535, description="Default: 1883, and 8883 with TLS.")
    username: str | None = Field(default=None, min_length=1, max_length=1000)
    password: SecretStr | None = Field(
        default=None, description="Such as {AFTERVIEW_MQTT}, which stands for that variable or its file."
    )
    password_file: Path | None = Field(default=None, description="File (mode 600) with the password.")
    tls: MqttTlsConfig | None = Field(default=None, description="Left out: no TLS.")
    protocol: Protocol = Field(default="5", description="Version of MQTT: 5 or 3.1.1.")
    client_id: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        pattern=r"^[\w.-]+$",
        description="No two clients of a broker may have the same. Default: one that is made for the memory, and stays.",
    )
    prefix: str = Field(default="afterview", description="First levels of all topics.")
    discovery: bool = Field(default=True, description="Whether Home Assistant finds the cameras by itself.")
    discovery_prefix: str = Field(default="homeassistant", description="As configured in Home Assistant.")
    user: str = Field(
        default="mqtt", min_length=1, max_length=64, description="What the audit calls everybody who asks by MQTT."
    )
    cameras: tuple[str, ...] | None = Field(
        default=None, description="Names or ids of the cameras that are shown and may be asked about; default: all."
    )
    commands: bool = Field(default=True, description="Whether cameras can be paused by MQTT.")
    interval_s: float = Field(
        default=30.0, ge=1, le=3600, description="Seconds between statistics and times of the newest frames."
    )
    longest_queue: int = Field(default=4, ge=1, le=100, description="Questions of MQTT at once; more get an error.")

    @model_validator(mode="before")
    @classmethod
    def _quoted(cls, values: Any) -> Any:
        if isinstance(values, dict) and not isinstance(values.get("password"), str | SecretStr | None):
            raise ValueError(
                "password: must be text; write it in quotes"
            )  # here, because a field's error quotes the value
        if isinstance(values, dict) and isinstance(host := values.get("host"), str) and "@" in host:
            raise ValueError("host: holds a user or a password; give them as mqtt.username and mqtt.password")
        return values

    @field_validator("host")
    @classmethod
    def _host_name(cls, host: str) -> str:
        return require_host(host, "the port as mqtt.port")

    @field_validator("protocol", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("prefix", "discovery_prefix")
    @classmethod
    def _topic(cls, prefix: str) -> str:
        if not is_prefix(prefix):
            raise ValueError(
                f"levels of letters, digits, '_', '-' and '.', with '/' between them, at most {_LONGEST_PREFIX} characters"
            )
        return prefix

    @field_validator("user")
    @classmethod
    def _free(cls, user: str) -> str:
        if user in ("owner", "nobody") or not user.isprintable():
            raise ValueError("must be another printable name than 'owner' and 'nobody'")
        return user

    @field_validator("cameras")
    @classmethod
    def _ids(cls, cameras: tuple[str, ...] | None) -> tuple[str, ...] | None:
        try:
            return None if cameras is None else tuple(dict.fromkeys(camera_id(name) for name in cameras))
        except Exception as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _fits(self) -> "MqttConfig":
        if self.password is not None and self.password_file is not None:
            raise ValueError("the password is given twice: by password and by password_file; leave out one")
        if (self.password or self.password_file) and self.username is None:
            raise ValueError("a password needs a username")
        both = f"{self.prefix}/", f"{self.discovery_prefix}/"
        if both[0].startswith(both[1]) or both[1].startswith(both[0]):
            raise ValueError("prefix and discovery_prefix must not lie in each other")
        return self

    @property
    def place(self) -> str:
        """Host and port, for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port_number}"

    @property
    def port_number(self) -> int:
        """The port, or its default."""
        return self.port or (1883 if self.tls is None else 8883)

    def from_directory(self, directory: Path) -> "MqttConfig":
        """With relative paths under a directory."""

        def absolute(path: Path | None) -> Path | None:
            return None if path is None else directory / path.expanduser()

        tls = self.tls and self.tls.model_copy(
            update={name: absolute(getattr(self.tls, name)) for name in ("ca", "certificate", "key")}
        )
        return self.model_copy(update={"password_file": absolute(self.password_file), "tls": tls})


def is_prefix(text: str) -> bool:
    """Whether topics can begin with it."""
    return len(text) <= _LONGEST_PREFIX and all(_LEVEL.fullmatch(level) for level in text.split("/"))
