"""`afterview config`: the service's configuration. Loads no model."""

import argparse
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from afterview.cli.arguments import default_memory, memory_path, require_model
from afterview.cli.output.documents import dump, printable
from afterview.configs import AfterviewError, ExitStatus, UsageError
from afterview.memory.base.camera import camera_id
from afterview.memory.base.counts import counted
from afterview.stream.service.cameras import live_address, shown_source
from afterview.stream.service.config import ServiceConfig, json_schema, load_service_config
from afterview.stream.service.http_address import is_loopback
from afterview.stream.service.mqtt.service import broker_of
from afterview.stream.service.people.users import read_users
from afterview.stream.service.secrets import SecretVariables, read_token, require_token
from afterview.stream.service.tls import server_context

_LOGGER = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> int:
    """Print the schema, or check a file."""
    if arguments.action == "schema":
        print(json.dumps(json_schema(), indent=None if arguments.json else 2))
        return ExitStatus.OK
    config = load_service_config(Path(arguments.config))
    for name, camera in config.cameras.items():
        try:
            live_address(camera, SecretVariables())
        except AfterviewError as error:
            raise UsageError(f"{arguments.config}: cameras.{name}.source: {error}") from None
    require_model(config.model)
    server_context(config.http.tls)
    token = read_token(config.http.token_file)
    admins = (
        read_users(memory_path(str(config.memory or default_memory(os.environ)[0]))).admins if token is None else ()
    )
    http = config.http
    require_token(token, http.bind, loopback=is_loopback(http.bind), admins=admins, proxies=http.trusted_proxies)
    broker_of(config.mqtt, SecretVariables())
    for note in _notes(config):
        _LOGGER.warning("note: %s", note)
    cameras = {name: shown_source(camera) for name, camera in config.cameras.items()}
    if arguments.json:
        dump(
            {
                "config": arguments.config,
                "mqtt": None if config.mqtt is None else config.mqtt.place,
                "cameras": [{"name": name, "source": source} for name, source in cameras.items()],
            }
        )
        return ExitStatus.OK
    scheme = "http" if config.http.tls.certificate is None else "https"
    print(f"{arguments.config}: {counted(len(cameras), 'camera')}, {scheme}://{config.http.bind}:{config.http.port}")
    if config.mqtt is not None:
        print(f"  mqtt: {config.mqtt.place}, topics begin with {config.mqtt.prefix}/")
    for name, source in cameras.items():
        print(printable(f"  {name}: {source}"))
    return ExitStatus.OK


def _notes(config: ServiceConfig) -> Iterator[str]:
    """What is possible, but looks like a mistake."""
    for folder in config.openai.folders:
        if not folder.is_dir():
            yield f"openai.folders: there is no directory {folder} yet"
    known = {camera_id(name) for name in config.cameras}
    for shown in (config.mqtt.cameras if config.mqtt else None) or ():
        if shown not in known:
            yield f"mqtt.cameras: there is no camera '{shown}' in the file; it counts once one is added over HTTP"
