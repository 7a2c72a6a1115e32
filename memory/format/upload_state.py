"""How much of a camera lies on its store: `uploaded`, a small file that is replaced as a whole after the store has confirmed what it says.

Counted in seals, for each tree by itself: `frames` (images) and each `generation-N` (features). Seals [0, released) lie on the store
alone, [released, sent) on both, later ones only here. `locked` keeps those apart who send, release and erase, in whichever process.
"""

import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.documents import read_json, write_json
from afterview.memory.base.durable import PARTIAL, fsync_directory, unlink
from afterview.memory.base.errors import DamagedMemory, StoreUnreachable
from afterview.memory.base.lock import file_lock
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.generations import camera_layouts
from afterview.memory.format.layout import IMAGES, generation_name, generations
from afterview.memory.format.spec_file import spec_path
from afterview.memory.plans.downsampling import ARRAYS

FILE = "uploaded"
FRAMES = "frames"  # the tree of the images
PATIENCE_S = 300.0  # longer than one seal can take to be sent


@dataclass(frozen=True)
class Tree:
    """One tree's seals. bytes: of its objects; away: of those that lie on the store alone. identity: of the spec it was made by."""

    identity: int
    sent: int = 0
    released: int = 0
    bytes: int = 0
    away: int = 0


@dataclass(frozen=True)
class Published:
    """What another machine finds there: rows and gaps of a generation, and a checksum of all that was said about them."""

    frames: int = 0
    generation: int = 0
    crc: int = 0


@dataclass(frozen=True)
class UploadState:
    """The state of one camera. again: (tree, seal) that changed after they were sent. thinned: (tree, seal) that are coarse on the store,
    too, until the commit says so. unsettled: something that changes the trees' bytes is under way, or was cut off: they are in doubt.
    silent_since, why: of a store that cannot be used.
    """

    trees: dict[str, Tree] = field(default_factory=dict)
    again: tuple[tuple[str, int], ...] = ()
    thinned: tuple[tuple[str, int], ...] = ()
    unsettled: bool = False
    published: Published = field(default=Published())
    silent_since: float | None = None
    why: str = ""
    keeps_versions: bool = False

    @classmethod
    def read(cls, camera: Path) -> "UploadState":
        """The state of the camera at `camera`; nothing sent where there is none. Raises DamagedMemory."""
        path = camera / FILE
        if not path.exists():
            return cls()
        values = read_json(path, missing=str(path))
        try:
            trees = {name: Tree(**tree) for name, tree in values.pop("trees").items()}
            again, thinned = (
                tuple((str(tree), int(seal)) for tree, seal in values.pop(name, ())) for name in ("again", "thinned")
            )
            return cls(trees, again, thinned, published=Published(**values.pop("published")), **values)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise DamagedMemory(f"{path}: is no state of an upload; `afterview fsck --repair` makes it anew") from None

    def write(self, camera: Path) -> None:
        """Make it so, durably."""
        write_json(camera / FILE, asdict(self))

    def with_tree(self, name: str, tree: Tree) -> "UploadState":
        """The same with another state of one tree."""
        return replace(self, trees={**self.trees, name: tree})

    def to_send_again(self, items: set[tuple[str, int]]) -> "UploadState":
        """The same with seals that must be sent once more, of those that were sent at all."""
        sent = {(name, seal) for name, seal in items if name in self.trees and seal < self.trees[name].sent}
        return replace(self, again=tuple(sorted({*self.again, *sent})))

    @property
    def bytes(self) -> int:
        """Of all objects of sealed chunks."""
        return sum(tree.bytes for tree in self.trees.values())

    @property
    def away(self) -> int:
        """Bytes that lie on the store alone."""
        return sum(tree.away for tree in self.trees.values())


@contextmanager
def locked(camera: Path, *, patience_s: float = PATIENCE_S) -> Iterator[None]:
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


def change(camera: Path, items: set[tuple[str, int]]) -> None:
    """These seals were changed here: what the store has of them is old. Costs nothing where there is no store."""
    if (camera / FILE).exists():
        with locked(camera):
            UploadState.read(camera).to_send_again(items).write(camera)


def forget_uploads(camera: Path) -> None:
    """No state any more."""
    if unlink(camera / FILE):
        fsync_directory(camera)


def trees_here(camera: Path) -> dict[str, int]:
    """The trees that a camera has, with the identity of each: a generation that was given up and begun anew is another."""
    found = {FRAMES: 0}
    for number in generations(camera):
        path = spec_path(camera, number)
        if path.exists():
            found[generation_name(number)] = zlib.crc32(path.read_bytes())
    return found


def seal_keys(camera: Path, tree: str, seal: int) -> list[str]:
    """The objects of one seal of a tree, those that move to the store: all but arrays of one number per frame."""
    if tree == FRAMES:
        return [f"{IMAGES}/{seal}/c.0"]
    number = int(tree.removeprefix("generation-"))
    first = seal * SEAL_FRAMES
    return [
        str(layout.file(camera, chunk).relative_to(camera))
        for layout in camera_layouts(camera, number)
        if layout.name.startswith(f"{tree}/") and layout.chunk <= SEAL_FRAMES
        for chunk in layout.chunks(first, first + SEAL_FRAMES)
    ]


def fine_keys(camera: Path, tree: str, seal: int) -> set[str]:
    """Those of them that hold tokens, and their scales, as they were before they became coarse."""
    return {key for key in seal_keys(camera, tree, seal) if Path(key).parent.name in ARRAYS}


def frames_away(camera: Path, generation: int) -> NDArray[np.int64]:
    """Frames whose features lie on the store alone, int64, ascending."""
    tree = UploadState.read(camera).trees.get(generation_name(generation))
    return np.arange(tree.released * SEAL_FRAMES if tree else 0, dtype=np.int64)


def bytes_away(camera: Path) -> int:
    """Bytes that lie on the store alone; 0 where the note of it is damaged, which must not end a recording."""
    try:
        return UploadState.read(camera).away
    except DamagedMemory:
        return 0


def known_silent(camera: Path) -> bool:
    """Whether whoever sends has found that the store cannot be used."""
    try:
        return UploadState.read(camera).silent_since is not None
    except DamagedMemory:
        return True
