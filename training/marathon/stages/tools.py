"""What a stage works with: the configuration, the videos, and a model for each role. One per process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from afterview.configs import UsageError, missing_extra
from afterview.training.marathon.config import EndpointConfig, MarathonConfig, ModelConfig, VllmConfig, WorldModelConfig
from afterview.training.marathon.models.asking import Asker, Kept
from afterview.training.marathon.models.batched import BatchedModel
from afterview.training.marathon.models.endpoint import Endpoint
from afterview.training.marathon.models.request import Model
from afterview.training.marathon.worlds.exact import WorldModel

CAPTIONER, WRITER, CHECKER, BLIND = "captioner", "writer", "checker", "blind"


def look_role(number: int) -> str:
    """The role of a further captioner: 1, 2, ..."""
    return f"looks.{number}"


def roles_of(config: MarathonConfig) -> dict[str, ModelConfig]:
    """The model of every role."""
    models = config.models
    roles: dict[str, ModelConfig] = {
        CAPTIONER: models.captioner,
        WRITER: models.writer,
        CHECKER: models.checker or models.writer,
    }
    roles |= {look_role(number): one for number, one in enumerate(models.looks, 1)}
    return roles if models.blind is None else {**roles, BLIND: models.blind}


def sees(role: str) -> bool:
    """Whether a role is shown pictures."""
    return role == CAPTIONER or role.startswith("looks.")


def model_of(role: str, config: ModelConfig, videos: Path) -> Model:
    """The model of a role. Raises UsageError."""
    if isinstance(config, EndpointConfig):
        return Endpoint(f"models.{role}", config, sees=sees(role))
    if isinstance(config, VllmConfig):
        return BatchedModel(f"models.{role}", config, sees=sees(role))
    return WorldModel(videos, config)


def require_different(config: MarathonConfig) -> None:
    """Raise UsageError for captioners that would make the same mistakes: they would agree with each other, and check nothing."""
    seen = [config.models.captioner, *config.models.looks]
    for number, one in enumerate(seen):
        if isinstance(one, WorldModelConfig) and (one.drop or one.swap or one.hallucinate) and one in seen[:number]:
            raise UsageError(
                f"models.looks: look {number} makes the same mistakes as a captioner before it; give it a seed of its own"
            )


def on_vllm(config: MarathonConfig) -> str | None:
    """The first role whose model vLLM runs."""
    return next((role for role, one in roles_of(config).items() if isinstance(one, VllmConfig)), None)


def require_vllm(config: MarathonConfig) -> None:
    """Raise UsageError if a model needs vLLM, and it or Ray is missing. Machines of a cluster have their own, which is seen there."""
    role = on_vllm(config)
    if role is None:
        return
    if find_spec("ray") is None:
        raise missing_extra("marathon", f"models.{role} (kind: vllm)")
    if find_spec("vllm") is None and not os.environ.get("RAY_ADDRESS"):
        raise UsageError(
            f"models.{role}: kind vllm needs vLLM, which is not installed here; install it beside Ray where GPUs are (pip install vllm), "
            "name a cluster that has it in RAY_ADDRESS, or serve the model (vllm serve MODEL) and give its address with kind: openai"
        )


@dataclass(frozen=True)
class Tools:
    """Shared by the threads of a process."""

    config: MarathonConfig
    videos: Path
    askers: dict[str, Asker]

    def asker(self, role: str) -> Asker:
        """The asker of a role."""
        return self.askers[role]

    def stop(self) -> None:
        """Give up everything that is being asked."""
        for asker in self.askers.values():
            asker.stop()

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """What was asked, by role; roles that share a model are one: `writer, checker`."""
        roles: dict[int, list[str]] = {}
        for role, asker in self.askers.items():
            roles.setdefault(id(asker), []).append(role)
        return {", ".join(names): dict(self.askers[names[0]].counts) for names in roles.values()}


@contextmanager
def opened_tools(config: MarathonConfig, videos: Path, kept: Kept) -> Iterator[Tools]:
    """Tools for the length of a run. Two roles of one model share it, with its limit of requests at once."""
    shared: dict[tuple[str, bool], Asker] = {}
    askers: dict[str, Asker] = {}
    try:
        for role, given in roles_of(config).items():
            name = given.model_dump_json(), sees(role)
            if name not in shared:
                shared[name] = Asker(model_of(role, given, videos), kept, repairs=config.repairs)
            askers[role] = shared[name]
        yield Tools(config, videos, askers)
    finally:
        for asker in shared.values():
            asker.close()
