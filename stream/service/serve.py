"""Runs the service in one event loop: engine, HTTP server, signals."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from afterview.configs import AfterviewError
from afterview.stream.service.answer_with import AnswerWith
from afterview.stream.service.aside import in_daemon_thread
from afterview.stream.service.changes import delete_exports
from afterview.stream.service.config import ServiceConfig, needs_restart
from afterview.stream.service.degraded import summary
from afterview.stream.service.engine import Engine, LoadModel
from afterview.stream.service.given import delete_given
from afterview.stream.service.http.app import Parts, make_app
from afterview.stream.service.http.gate import Gate
from afterview.stream.service.http.guard import Rules
from afterview.stream.service.http.proxies import networks
from afterview.stream.service.http.server import Server, listen, make_server, url_of
from afterview.stream.service.http_address import is_loopback
from afterview.stream.service.jobs import Jobs
from afterview.stream.service.local_socket import local_socket
from afterview.stream.service.measured import Measured
from afterview.stream.service.mqtt.service import Mqtt, broker_of
from afterview.stream.service.own_model import OwnModel
from afterview.stream.service.people.admission import Admission
from afterview.stream.service.people.audit import Audit
from afterview.stream.service.people.users import read_users
from afterview.stream.service.places import ServiceLock
from afterview.stream.service.questions import Questions
from afterview.stream.service.secrets import SecretVariables, Token, read_token, require_token
from afterview.stream.service.systemd import Supervisor

_LOGGER = logging.getLogger(__name__)

Reload = Callable[[], ServiceConfig]


class Service:
    """One service. `run` ends after SIGTERM, SIGINT or `end`; SIGHUP reads the configuration again."""

    def __init__(
        self, memory: Path, config: ServiceConfig, load_model: LoadModel, *, version: str, reload: Reload | None = None
    ) -> None:
        """reload: reads the configuration again; None without a file. Raises ConfigError and TokenRequired."""
        self._memory, self._config, self._load_model = memory, config, load_model
        self._version, self._reload = version, reload
        self._token: Token | None = read_token(config.http.token_file)
        loopback, proxies = is_loopback(config.http.bind), config.http.trusted_proxies
        require_token(
            self._token, config.http.bind, loopback=loopback, admins=read_users(memory).admins, proxies=proxies
        )
        self._local = loopback and not proxies
        self._broker = broker_of(config.mqtt, SecretVariables())
        self._answer_with = AnswerWith(OwnModel.of(config.answer_with, SecretVariables()))
        self._server: Server | None = None
        self._mqtt: Mqtt | None = None
        self._supervisor = Supervisor({})  # that of the environment while it runs
        self.engine: Engine | None = None  # while it runs
        self.url = ""

    async def run(self, on_ready: Callable[[str], None] = lambda url: None) -> None:
        """Serve until the end. on_ready: called with the address once it listens. Raises ServiceBusy, ConfigError, FormatMismatch."""
        listener = listen(self._config.http)
        self._supervisor = Supervisor()
        try:
            self.url = url_of(self._config.http, listener)
            with ServiceLock(self._memory) as lock, local_socket(self._memory) as local:
                lock.say(self.url)
                await self._serve(listener, local, on_ready)
        finally:
            self._supervisor.close()
            listener.close()

    async def _serve(
        self, listener: socket.socket, local: socket.socket | None, on_ready: Callable[[str], None]
    ) -> None:
        http = self._config.http
        delete_exports(self._memory)
        delete_given(self._memory)
        engine = self.engine = Engine(
            self._memory, self._config, self._load_model, environment=SecretVariables(), version=self._version
        )
        audit = Audit(self._memory)
        measured, jobs = Measured(), Jobs(engine.hub, audit, self._memory)
        admission = Admission(self._memory, self._token, local=self._local, session_s=3600 * http.session_hours)
        gate = Gate(admission, networks(http.trusted_proxies))
        questions = Questions(engine, measured, audit, self._answer_with)
        parts = Parts(engine, questions, jobs, measured, gate, audit, self.url)
        mqtt = self._mqtt = Mqtt(engine, parts.questions, jobs, measured)
        measured.doors += [mqtt, self._answer_with]
        if self._answer_with.current is not None:
            _LOGGER.info("answer_with: %s", self._answer_with.current.what_goes)
        rules = Rules.of(http.bind, http.allowed_hosts, body_timeout_s=http.body_timeout_s)
        server = self._server = make_server(make_app(parts, rules), http, local)
        engine.start()
        engine.spawn(measured.watch_loop())
        engine.spawn(admission.watch())
        self._listen_to_signals(engine)
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        watching = asyncio.ensure_future(self._supervisor.watch(lambda: _state(engine, server)))
        await mqtt.use(self._broker)
        try:
            while not (server.started or serving.done()):
                await asyncio.sleep(0.01)
            if server.started:
                self._supervisor.ready()
                on_ready(self.url)
            while not (server.should_exit or serving.done()):
                await asyncio.sleep(0.1)
            self._supervisor.stopping()
            _LOGGER.info("stopping: cameras end, and what was decoded is written")
            self._answer_with.stop()
            await asyncio.gather(engine.stop(), jobs.close(), mqtt.stop())
            await serving
        finally:
            serving.cancel()
            watching.cancel()
            admission.close()
            await in_daemon_thread("end of the audit", audit.close)
            delete_exports(self._memory)
            delete_given(self._memory)

    def end(self) -> None:
        """Stop cleanly. In the event loop; more than once is fine."""
        if self._server is not None:
            self._server.should_exit = True

    def _listen_to_signals(self, engine: Engine) -> None:
        loop = asyncio.get_running_loop()
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self.end)
            loop.add_signal_handler(signal.SIGHUP, lambda: engine.spawn(self.read_again()))
        except (RuntimeError, ValueError):
            _LOGGER.debug("not in the main thread: signals are left alone")

    async def read_again(self) -> None:
        """What SIGHUP does, while it runs. A configuration that is broken changes nothing."""
        if self.engine is not None:
            with self._supervisor.reloading():
                await self._take_over(self.engine)

    async def _take_over(self, engine: Engine) -> None:
        if self._reload is None:
            _LOGGER.warning("SIGHUP: the service was started without a configuration file; nothing to read again")
            return
        try:
            config = self._reload()
            broker = broker_of(config.mqtt, SecretVariables())
            own_model = OwnModel.of(config.answer_with, SecretVariables())
        except AfterviewError as error:
            _LOGGER.error("SIGHUP: nothing changed: %s", error)
            return
        later = needs_restart(self._config, config)
        answers = self._answer_with.use(own_model)  # first: a server that was removed gets nothing more
        changes = await engine.reload(config)
        said = ", ".join(f"{name}: {change}" for name, change in changes.items()) or "no camera changed"
        if self._mqtt is not None and await self._mqtt.use(broker):
            said += ", mqtt: changed"
        if answers:
            said += f", answer_with: {answers}"
        _LOGGER.info("SIGHUP: %s (process %d)", said, os.getpid())
        if later:
            _LOGGER.warning("SIGHUP: %s: changes count after a restart", ", ".join(later))


def _state(engine: Engine, server: Server) -> str:
    """What systemd shows of the service."""
    if server.should_exit:
        return "ending: what was decoded is written"
    model = engine.model_state
    return summary(model, [camera.to_dict(model)["state"] for camera in engine.cameras.values()])
