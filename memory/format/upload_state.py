"""How much of a camera lies in its bucket: `uploaded`, a small file that is replaced as a whole once the store has confirmed the objects.

It counts seals, separately for each tree: `frames` (images) and each `generation-N` (features). Seals [0, released) lie in the bucket
only, [released, sent) in both places, later ones only here. `upload_lock` keeps sending, releasing and erasing apart, across processes.
"""

import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.documents import exists, read_bytes, read_json, write_json
from afterview.memory.base.durable import PARTIAL, fsync_directory, unlink
from afterview.memory.base.errors import DamagedMemory, StoreUnreachable, Unreadable
from afterview.memory.base.lock import file_lock
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.feature_spec_file import spec_path
from afterview.memory.format.generations import camera_arrays
from afterview.memory.format.layout import IMAGES, generation_name, generations
from afterview.memory.plans.downsampling import ARRAYS

FILE = "uploaded"
FRAMES = "frames"  # the tree of the images
PATIENCE_S = 300.0  # longer than sending one seal can take


@dataclass(frozen=True)
class Tree:
    """One tree's seals. bytes: of its objects; remote_only: of those that lie in the bucket alone. identity: of the spec it was made by."""

    identity: int
    sent: int = 0
    released: int = 0
    bytes: int = 0
    remote_only: int = 0

    def to_json(self) -> dict[str, Any]:
        """As it is kept on disk."""
        values = asdict(self)
        values["away"] = values.pop("remote_only")
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Tree":
        """What `to_json` made. Raises TypeError."""
        return cls(remote_only=values.pop("away", 0), **values)


@dataclass(frozen=True)
class Published:
    """What another machine finds there: frames and the generation, and a checksum of the manifest that was published."""

    frames: int = 0
    generation: int = 0
    crc: int = 0


@dataclass(frozen=True)
class UploadState:
    """The state of one camera.

    resend: (tree, seal) that changed after they were sent. downsampled: (tree, seal) that the bucket keeps downsampled, until the
    manifest says so. unsettled: a step that changes the trees' bytes is under way or was cut off, so they are in doubt.
    silent_since: Unix seconds since which the bucket cannot be used; why: the reason.
    """

    trees: dict[str, Tree] = field(default_factory=dict)
    resend: tuple[tuple[str, int], ...] = ()
    downsampled: tuple[tuple[str, int], ...] = ()
    unsettled: bool = False
    published: Published = field(default=Published())
    silent_since: float | None = None
    why: str = ""
    keeps_versions: bool = False

    @classmethod
    def read(cls, camera: Path) -> "UploadState":
        """The state of the camera at `camera`; an empty one if there is none. Raises DamagedMemory."""
        path = camera / FILE
        if not exists(path):
            return cls()
        try:
            return cls._from_json(read_json(path, missing=str(path)))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise DamagedMemory(f"{path}: not an upload state; `afterview fsck --repair` starts a new one") from None

    @classmethod
    def _from_json(cls, values: dict[str, Any]) -> "UploadState":
        trees = {name: Tree.from_json(tree) for name, tree in values.pop("trees").items()}
        resend, downsampled = (
            tuple((str(tree), int(seal)) for tree, seal in values.pop(name, ())) for name in ("again", "thinned")
        )
        return cls(trees, resend, downsampled, published=Published(**values.pop("published")), **values)

    def write(self, camera: Path) -> None:
        """Replace the state on disk, durably."""
        values = asdict(self)
        values["trees"] = {name: tree.to_json() for name, tree in self.trees.items()}
        values["again"], values["thinned"] = values.pop("resend"), values.pop("downsampled")
        write_json(camera / FILE, values)

    def with_tree(self, name: str, tree: Tree) -> "UploadState":
        """A copy with another value for one tree."""
        return replace(self, trees={**self.trees, name: tree})

    def to_send_again(self, items: set[tuple[str, int]]) -> "UploadState":
        """A copy that notes which of these seals must be sent again: those that were sent before."""
        sent = {(name, seal) for name, seal in items if name in self.trees and seal < self.trees[name].sent}
        return replace(self, resend=tuple(sorted({*self.resend, *sent})))

    @property
    def bytes(self) -> int:
        """Bytes of all objects of sealed chunks."""
        return sum(tree.bytes for tree in self.trees.values())

    @property
    def remote_only(self) -> int:
        """Bytes that lie in the bucket only."""
        return sum(tree.remote_only for tree in self.trees.values())


@contextmanager
def upload_lock(camera: Path, *, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Hold the camera's objects and `uploaded` alone. Raises StoreUnreachable when another process keeps them longer than that."""
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock(camera / "uploaded.lock", patience_s=patience_s))
        except TimeoutError:
            raise StoreUnreachable(
                f"camera '{camera.name}': another process has been using its bucket for {patience_s:g} s; try again later"
            ) from None
        for left in camera.glob(f".{FILE}.*{PARTIAL}"):  # of a process that died: whoever writes one holds the lock
            unlink(left)
        yield


def note_changed(camera: Path, items: set[tuple[str, int]]) -> None:
    """Note that these seals were changed here, so that they are sent again. Does nothing if there is no store."""
    if exists(camera / FILE):
        with upload_lock(camera):
            UploadState.read(camera).to_send_again(items).write(camera)


def forget_upload_state(camera: Path) -> None:
    """Remove the upload state."""
    if unlink(camera / FILE):
        fsync_directory(camera)


def local_trees(camera: Path) -> dict[str, int]:
    """The trees of a camera with their identities. A generation that was dropped and started again has another identity."""
    found = {FRAMES: 0}
    for number in generations(camera):
        path = spec_path(camera, number)
        if exists(path):
            found[generation_name(number)] = zlib.crc32(read_bytes(path))
    return found


def seal_keys(camera: Path, tree: str, seal: int) -> list[str]:
    """Keys of the objects of one seal of a tree: all chunks but those of arrays with one number per frame."""
    if tree == FRAMES:
        return [f"{IMAGES}/{seal}/c.0"]
    number = int(tree.removeprefix("generation-"))
    first = seal * SEAL_FRAMES
    return [
        str(array.file(camera, chunk).relative_to(camera))
        for array in camera_arrays(camera, number)
        if array.name.startswith(f"{tree}/") and array.chunk <= SEAL_FRAMES
        for chunk in array.chunks(first, first + SEAL_FRAMES)
    ]


def fine_keys(camera: Path, tree: str, seal: int) -> set[str]:
    """Those of them that hold full tokens and their scales."""
    return {key for key in seal_keys(camera, tree, seal) if Path(key).parent.name in ARRAYS}


def frames_remote(camera: Path, generation: int) -> NDArray[np.int64]:
    """Frames whose features lie in the bucket only, int64, ascending."""
    tree = UploadState.read(camera).trees.get(generation_name(generation))
    return np.arange(tree.released * SEAL_FRAMES if tree else 0, dtype=np.int64)


def remote_bytes(camera: Path) -> int:
    """Bytes that lie in the bucket only; 0 if the state is damaged, because that must not end a recording."""
    try:
        return UploadState.read(camera).remote_only
    except (DamagedMemory, Unreadable):
        return 0


def known_unreachable(camera: Path) -> bool:
    """Whether the uploader has found that the bucket cannot be used."""
    try:
        return UploadState.read(camera).silent_since is not None
    except (DamagedMemory, Unreadable):
        return True
