"""The broker as configured, with its secrets and certificates read. Connects to nothing, and needs no client library."""

import hashlib
import re
import ssl
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from afterview.configs import ConfigError
from afterview.configs.system_errors import reason
from afterview.memory.base.durable import write_file
from afterview.stream.service.mqtt_config import MqttConfig, MqttTlsConfig
from afterview.stream.service.people.access import Access
from afterview.stream.service.secrets import read_secret
from afterview.stream.source.address.redact import hide_values

_VARIABLE = re.compile(r"\{(AFTERVIEW_\w+)\}")
_INSTANCE = ".mqtt"  # a file of the memory: under which name its topics are known


@dataclass(frozen=True)
class Broker:
    """What a connection needs. password: never shown."""

    config: MqttConfig
    password: str | None = field(repr=False)
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, config: MqttConfig, environment: Mapping[str, str]) -> "Broker":
        """Raises ConfigError for a password or a certificate that cannot be used."""
        return cls(config, _password(config, environment), _context(config.tls))

    @property
    def account(self) -> Access:
        """What everybody who speaks to the service by this broker may."""
        cameras = None if self.config.cameras is None else frozenset(self.config.cameras)
        return Access(self.config.user, admin=self.config.commands, cameras=cameras, client="mqtt", door="mqtt")


def _password(config: MqttConfig, environment: Mapping[str, str]) -> str | None:
    if config.password_file is not None:
        password = read_secret(config.password_file, "mqtt.password_file", private=True)
    elif config.password is not None:
        password = config.password.get_secret_value()
        if (variable := _VARIABLE.fullmatch(password)) is not None:
            password = environment.get(variable[1], "")
            if not password:
                raise ConfigError(
                    f"mqtt.password: the variable {variable[1]} is not set; set it: export {variable[1]}=..."
                )
    else:
        return None
    hide_values([password])
    return password


def _context(tls: MqttTlsConfig | None) -> ssl.SSLContext | None:
    if tls is None:
        return None
    try:
        context = ssl.create_default_context(cafile=tls.ca)
    except ssl.SSLError:
        raise ConfigError(f"mqtt.tls.ca: {tls.ca} is not a PEM certificate") from None
    except OSError as error:
        raise ConfigError(f"mqtt.tls.ca: {tls.ca}: {reason(error)}") from None
    if tls.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if tls.certificate is not None and tls.key is not None:
        for name, path in (("certificate", tls.certificate), ("key", tls.key)):
            try:
                path.open("rb").close()
            except OSError as error:
                raise ConfigError(f"mqtt.tls.{name}: {path}: {reason(error)}") from None
        try:
            context.load_cert_chain(tls.certificate, tls.key, password="")
        except (ssl.SSLError, OSError, ValueError):
            raise ConfigError(
                f"mqtt.tls: {tls.certificate} and {tls.key} are not a PEM certificate and its key without a password"
            ) from None
    return context


def instance_of(memory: Path) -> str:
    """The name by which the topics of this memory's service are known again after a restart. Reads a file, or makes it."""
    path = memory / _INSTANCE
    try:
        found = path.read_bytes()[:32].decode("ascii", "replace")
        if len(found) == 12 and found.isalnum():
            return found
    except OSError:
        pass
    name = uuid.uuid4().hex[:12]
    try:
        write_file(path, name.encode())
    except Exception:  # a memory that cannot be written: the same place gives the same name
        name = hashlib.sha256(str(memory.absolute()).encode(errors="surrogateescape")).hexdigest()[:12]
    return name
