"""Finds a checkpoint's files: in a directory, or on the hub (cache first, then the network). Only requested files are fetched."""

import logging
from functools import cached_property
from pathlib import Path
from typing import Protocol

import huggingface_hub
from huggingface_hub import _CACHED_NO_EXIST
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from afterview.model.base.errors import CheckpointError, HubUnreachable

_LOGGER = logging.getLogger(__name__)

_PROOFS = ("config.json", "adapter_config.json")  # one of these is in the cache if the model is
PROBE_TIMEOUT = 5.0  # seconds; the hub client itself retries for half a minute


class Location(Protocol):
    """A place that holds a checkpoint."""

    name: str  # for people and for error messages

    def find(self, file: str) -> Path | None:
        """The file's local path, downloaded if necessary. None if the checkpoint has no such file."""


class Directory:
    """A checkpoint in a local directory. Only local files are read."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)

    def find(self, file: str) -> Path | None:
        """The file's path, or None."""
        path = self.path / file
        return path if path.is_file() else None


class HubModel:
    """A checkpoint on the hub: owner/name, or owner/name@revision."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._repo, _, revision = name.partition("@")
        self._revision = revision or None

    def find(self, file: str) -> Path | None:
        """The file's path in the hub's cache, downloaded if necessary. Raises HubUnreachable if neither cache nor hub can answer."""
        cached = _cached(self.name, file)
        if isinstance(cached, str):  # asked of the cache itself: the hub's client would ask the hub who runs it
            return Path(cached)
        if cached is _CACHED_NO_EXIST:  # the hub said so when it was asked; offline it must not count as unreachable
            return None
        try:
            validate_repo_id(self._repo)
        except ValueError:
            raise CheckpointError(f"model '{self.name}': the hub has no names like this; write owner/name") from None
        if self._unreachable:
            raise HubUnreachable(
                f"model '{self.name}': the hub cannot be reached and {file} is not in its cache; `afterview models pull {self.name}` "
                "fetches it where there is a network; or give the directory of a checkpoint"
            )
        try:
            return Path(huggingface_hub.hf_hub_download(self._repo, file, revision=self._revision))
        except LocalEntryNotFoundError:
            raise HubUnreachable(f"model '{self.name}': the hub stopped answering; try again") from None
        except EntryNotFoundError:
            return None
        except GatedRepoError:
            raise HubUnreachable(
                f"model '{self.name}': access is restricted; accept its terms at {huggingface_hub.constants.ENDPOINT}/{self._repo}, then "
                "set HF_TOKEN, or sign in with `hf auth login`"
            ) from None
        except RepositoryNotFoundError:
            raise HubUnreachable(
                f"model '{self.name}': the hub has no model of that name; check the spelling"
            ) from None
        except (HfHubHTTPError, OSError, ValueError) as error:  # ValueError: a name that the hub's client does not take
            raise HubUnreachable(f"model '{self.name}': {file} could not be fetched: {_reason(error)}") from None

    @cached_property
    def _unreachable(self) -> bool:
        """One quick request through the hub client's own session, so that proxy settings apply."""
        if huggingface_hub.constants.HF_HUB_OFFLINE:
            return True
        try:
            huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=PROBE_TIMEOUT)
        except Exception:  # the exception types differ between versions of the hub client
            return True
        return False


def find_optional(location: Location, *files: str) -> dict[str, Path]:
    """Those of these files that the checkpoint has. A model may lack any of them.

    Without the hub, a file that is not in its cache counts as lacking if the model itself is there (downloaded as a whole by another
    program, say), and a warning names it. Raises HubUnreachable if nothing of the model is there.
    """
    found: dict[str, Path] = {}
    unknown = []
    for file in files:
        try:
            path = location.find(file)
        except HubUnreachable:
            if not any(is_cached(location, known) for known in _PROOFS):
                raise
            unknown.append(file)
            continue
        if path is not None:
            found[file] = path
    if unknown:
        _LOGGER.warning(
            "model '%s': the hub cannot be reached; taken to have none, because the cache has none: %s",
            location.name, ", ".join(unknown),
        )  # fmt: skip
    return found


def is_cached(location: Location, file: str) -> bool:
    """Whether a file is there without asking the hub."""
    if isinstance(location, HubModel):
        return isinstance(_cached(location.name, file), str)
    return location.find(file) is not None


def _cached(name: str, file: str) -> object:
    """Path of a file in the hub's cache, the mark that the model does not have it, or None if nothing is known."""
    try:
        repo, _, revision = name.partition("@")
        return huggingface_hub.try_to_load_from_cache(repo, file, revision=revision or None)
    except ValueError:  # a name that the hub's client does not take
        return None


def locate(source: str | Path) -> Location:
    """A local directory of that name, otherwise the hub. Raises CheckpointError for a file or a path that does not exist."""
    path = Path(source).expanduser()
    if path.is_dir():
        return Directory(path)
    if path.is_file():
        raise CheckpointError(f"{source}: is a file; give the directory that holds config.json and the weights")
    if path.is_absolute() or str(source).startswith("."):
        raise CheckpointError(f"{source}: no such directory; give a directory that holds config.json and the weights")
    return HubModel(str(source))


def _reason(error: Exception) -> str:
    """Why a download failed, for people."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"the hub answered {status}; try again later"
    return (error.strerror if isinstance(error, OSError) else None) or "the connection failed; try again later"
