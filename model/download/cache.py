"""The hub's cache on this disk, which other programs share. Loads neither the hub's client nor torch, so that looking costs nothing.

models--OWNER--NAME/blobs/CHECKSUM             the bytes; sha256 of large files, git's blob id of small ones
models--OWNER--NAME/snapshots/COMMIT/FILE      links to them
models--OWNER--NAME/refs/main                  the commit that `main` stands for
models--OWNER--NAME/.no_exist/COMMIT/FILE      the hub said that it has no such file
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MAIN = "main"
INCOMPLETE = ".incomplete"  # suffix of blobs that are being fetched, by this and other programs

_COMMIT = re.compile(r"[0-9a-f]{40}")


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the hub's client keeps models. The order of its variables is the client's own."""
    for name, below in (("HF_HUB_CACHE", ""), ("HUGGINGFACE_HUB_CACHE", ""), ("HF_HOME", "hub")):
        if text := environment.get(name):
            return Path(os.path.expandvars(os.path.expanduser(text)), below)
    base = environment.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base, "huggingface", "hub")


def user_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Where Afterview itself keeps what it can do without."""
    base = environment.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base, "afterview")


def is_safe_name(file: str) -> bool:
    """Whether a name from the hub stays below the directory that it is put into."""
    parts = file.split("/")
    return bool(file) and "\\" not in file and "\0" not in file and not any(part in ("", ".", "..") for part in parts)


@dataclass(frozen=True)
class CachedModel:
    """A model of the hub as it lies in the cache. name: owner/name, or owner/name@revision. root: see `cache_directory`."""

    name: str
    root: Path

    @property
    def repo(self) -> str:
        """Without its revision."""
        return self.name.partition("@")[0]

    @property
    def revision(self) -> str:
        """A branch, a tag or a commit."""
        return self.name.partition("@")[2] or MAIN

    @property
    def storage(self) -> Path:
        """The directory of all its files."""
        return self.root / f"models--{self.repo.replace('/', '--')}"

    @property
    def locks(self) -> Path:
        """The directory of the locks that the hub's client holds on its blobs."""
        return self.root / ".locks" / self.storage.name

    @property
    def commit(self) -> str | None:
        """The commit that its revision stands for here, or None."""
        revision = self.revision
        if _COMMIT.fullmatch(revision):
            return revision if (self.storage / "snapshots" / revision).is_dir() else None
        try:
            text = (self.storage / "refs" / revision).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            return None
        return text if _COMMIT.fullmatch(text) else None

    def find(self, file: str) -> Path | None:
        """The path of a file that is here whole, or None."""
        commit = self.commit
        if commit is None or not is_safe_name(file):
            return None
        path = self.storage / "snapshots" / commit / file
        return path if path.is_file() else None

    def files(self) -> dict[str, Path]:
        """All files of its revision that are here, by name; links that lead nowhere are among them."""
        commit = self.commit
        if commit is None:
            return {}
        top = self.storage / "snapshots" / commit
        return {
            str(Path(where, name).relative_to(top)): Path(where, name) for where, _, names in os.walk(top) for name in sorted(names)
        }  # fmt: skip

    def blobs(self) -> Iterator[tuple[Path, int]]:
        """Every file below `storage` that takes room, and its bytes: whole or not, of any revision. Links take none."""
        for where, _, names in os.walk(self.storage):
            for name in names:
                path = Path(where, name)
                try:
                    if not path.is_symlink():
                        yield path, path.stat().st_size
                except OSError:
                    continue  # gone meanwhile

    def bytes(self) -> int:
        """What it takes on disk."""
        return sum(size for _, size in self.blobs())
