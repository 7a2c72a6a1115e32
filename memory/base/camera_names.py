"""Which camera of a memory a text means.

Different names can lead to one id ('../x' and '-x', 'FRONT door' and 'front  door', long names that share their first 120 bytes). An id
belongs to the first name that was recorded under it (`camera.json` keeps the name). The rules, in this order:

1. The text is exactly the id of a camera: that camera.
2. It is exactly the name of a camera: that camera, in whatever directory it lies.
3. Reading and managing: it differs from the name or the id of exactly one camera only in case or white space: that camera, and a note in
   the log names it. A recorder does not do this, because there another spelling may be meant as another camera.
4. Anything else is not that camera. Readers raise MemoryNotFound. Recorders create a camera, or raise NameTaken where its id is in use.
"""

import logging
import unicodedata
from pathlib import Path

from afterview.configs import UsageError
from afterview.configs.suggestions import did_you_mean
from afterview.memory.base.camera import camera_id, read_camera
from afterview.memory.base.errors import MemoryNotFound, NameTaken, RepositoryError

_LOGGER = logging.getLogger(__name__)


def camera_ids(memory: Path) -> list[str]:
    """Ids of the cameras of a memory, sorted: the names of their directories."""
    return sorted(entry.parent.name for entry in memory.glob("*/camera.json"))


def find_camera(memory: Path, given: str) -> str:
    """The id of the camera to read or to manage (rules 1 to 3). Raises MemoryNotFound, which names the existing ones."""
    ids = camera_ids(memory)
    if given in ids:
        return given
    names = _names(memory, ids)
    exact = _named(names, given)
    if exact is not None:
        return exact
    plain = _plain(given)
    alike = [known for known in ids if plain in (_plain(known), _plain(names[known] or known))]
    if len(alike) == 1:
        _LOGGER.warning("note: no camera '%s'; this is camera '%s', named '%s'", given, alike[0], names[alike[0]])
        return alike[0]
    if alike:
        raise MemoryNotFound(f"'{given}' may be any of these cameras in {memory}: {', '.join(alike)}; give the id")
    other = _id_or_none(given)
    why = f" (camera '{other}' is named '{names[other]}')" if other is not None and other in names else ""
    meant = did_you_mean(given, {name or known for known, name in names.items()})
    there = f"{meant} There are" if meant else "; there are"
    raise MemoryNotFound(f"no camera '{given}' in {memory}{why}{there}: {', '.join(ids)}")


def directory_to_record(memory: Path, given: str, *, by_id: bool = True) -> Path:
    """The directory of the camera to record into (rules 1 and 2), or that of a new camera.

    by_id: False for a text that nobody gave as `--camera`, such as the name in an exported span: rule 1 does not apply to it. Raises
    NameTaken if the id of a new camera belongs to another name, UsageError if there is no id for the name.
    """
    ids = camera_ids(memory)
    if by_id and given in ids:
        return memory / given
    names = _names(memory, ids)
    exact = _named(names, given)
    if exact is not None:
        return memory / exact
    identity = camera_id(given)
    if identity in names:
        raise name_taken(given, identity, names[identity] or identity)
    return memory / identity


def name_taken(given: str, identity: str, owner: str) -> NameTaken:
    """The error for a name whose id belongs to the camera named `owner`."""
    return NameTaken(
        f"camera name '{given}' leads to the id '{identity}', which belongs to the camera named '{owner}'; give another name, or "
        f"--camera {identity} to record into that camera"
    )


def _names(memory: Path, ids: list[str]) -> dict[str, str | None]:
    """Names by id; None where `camera.json` cannot be read."""
    names: dict[str, str | None] = {}
    for known in ids:
        try:
            names[known] = read_camera(memory / known).name
        except RepositoryError:
            names[known] = None
    return names


def _named(names: dict[str, str | None], given: str) -> str | None:
    """The id of the camera with exactly this name. Of several copies, the one in the directory that belongs to the name.

    A camera whose name cannot be read counts as the one that has the id: opening it then reports the damage.
    """
    own = _id_or_none(given)
    if own is not None and own in names and names[own] in (None, given):
        return own
    found = [known for known, name in names.items() if name == given]
    if len(found) > 1:
        raise MemoryNotFound(f"several cameras are named '{given}': {', '.join(found)}; give the id")
    return found[0] if found else None


def _id_or_none(name: str) -> str | None:
    try:
        return camera_id(name)
    except UsageError:
        return None


def _plain(text: str) -> str:
    """Equal for texts that differ only in case and white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
