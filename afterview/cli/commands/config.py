"""`afterview config`: the service's configuration. Loads no model."""

import argparse
import json
import os
from pathlib import Path

from afterview.cli.arguments import default_memory, memory_path
from afterview.cli.output.documents import dump, printable
from afterview.configs import ExitStatus
from afterview.memory.base.counts import counted
from afterview.stream.service.cameras import shown_source
from afterview.stream.service.config import json_schema, load_service_config
from afterview.stream.service.http_address import is_loopback
from afterview.stream.service.mqtt.service import broker_of
from afterview.stream.service.secrets import SecretVariables, read_token, require_token
from afterview.stream.service.users import read_users
from afterview.stream.source.address.address import parse_source


def run(arguments: argparse.Namespace) -> int:
    """Print the schema, or check a file."""
    if arguments.action == "schema":
        print(json.dumps(json_schema(), indent=None if arguments.json else 2))
        return ExitStatus.OK
    config = load_service_config(Path(arguments.config))
    for camera in config.cameras.values():
        parse_source(camera.source, SecretVariables())
    token = read_token(config.http.token_file)
    admins = (
        read_users(memory_path(str(config.memory or default_memory(os.environ)[0]))).admins if token is None else ()
    )
    http = config.http
    require_token(token, http.bind, loopback=is_loopback(http.bind), admins=admins, proxies=http.trusted_proxies)
    broker_of(config.mqtt, SecretVariables())
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
    print(f"{arguments.config}: {counted(len(cameras), 'camera')}, http://{config.http.bind}:{config.http.port}")
    if config.mqtt is not None:
        print(f"  mqtt: {config.mqtt.place}, topics begin with {config.mqtt.prefix}/")
    for name, source in cameras.items():
        print(printable(f"  {name}: {source}"))
    return ExitStatus.OK
