"""Fetches one file of the hub: goes on where an interrupted transfer stopped, and believes nothing but the checksum.

The hub's own client begins a file anew each time, and a client that is killed leaves what came beside the next try.
"""

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from afterview.configs.system_errors import describe
from afterview.memory.base.lock import file_lock
from afterview.model.base.errors import PullFailed
from afterview.model.download.cache import INCOMPLETE, CachedModel
from afterview.model.download.listing import RemoteFile, answer_to, explained, refusal, request_headers

PIECE_BYTES = 1 << 20
_LOGGER = logging.getLogger(__name__)

Report = Callable[[int], None]  # bytes that are here in addition; negative where some were useless


@dataclass(frozen=True)
class Patience:
    """How long a transfer may stand still. tries: without anything new between two of them."""

    silence_s: float = 15.0
    tries: int = 4
    pause_s: float = 1.0  # before the second try; doubles
    slowest: float = 1000.0  # bytes per second over `window_s`: less counts as silence
    window_s: float = 60.0


class _Interrupted(Exception):
    """The transfer stopped early; another try may go on. The text says why."""


def fetch(
    model: CachedModel,
    file: RemoteFile,
    url: str,
    *,
    report: Report,
    patience: Patience | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Fetch a file into the cache, and return its blob. What is there is checked, not fetched again.

    Raises PullFailed (what came stays), HubUnreachable for an answer that no further try changes.
    """
    blob = model.storage / "blobs" / file.checksum
    blob.parent.mkdir(parents=True, exist_ok=True)
    with _alone(model, file):
        if _is_whole(blob, file):
            _clean(blob)
            report(file.size)
            return blob
        blob.unlink(missing_ok=True)
        partial = blob.with_name(f"{blob.name}{INCOMPLETE}")
        _clean(blob, but=partial)
        with explained(model.repo), _on_disk(partial):
            _fetch_whole(model, file, url, partial, report, patience or Patience(), sleep)
            os.replace(partial, blob)
    return blob


def matches(path: Path, checksum: str) -> bool:
    """Whether a file has this sha256, or this git blob id. Raises OSError."""
    with path.open("rb") as data:
        state = _state(checksum, os.fstat(data.fileno()).st_size)
        while piece := data.read(PIECE_BYTES):
            state.update(piece)
    return state.hexdigest() == checksum


def _fetch_whole(
    model: CachedModel, file: RemoteFile, url: str, partial: Path, report: Report, patience: Patience,
    sleep: Callable[[float], None],
) -> None:  # fmt: skip
    """Fill `partial` until its checksum is right."""
    left, pause = patience.tries, patience.pause_s
    resumed = had = _size(partial)
    report(had)
    while True:
        try:
            _transfer(model, file, url, partial, report, patience)
            break
        except _Interrupted as error:
            now = _size(partial)
            left, pause = (patience.tries, patience.pause_s) if now > had + PIECE_BYTES else (left - 1, pause * 2)
            had = now
            if left <= 0:
                raise PullFailed(
                    f"{model.repo}: {file.name}: {error}, {patience.tries} times; {had / 1e6:.1f} of {file.size / 1e6:.1f} MB are here: "
                    "the same command goes on with them"
                ) from None
            _LOGGER.warning(
                "%s: %s: %s; going on at %.1f of %.1f MB", model.repo, file.name, error, had / 1e6, file.size / 1e6
            )
            sleep(pause)
    if not matches(partial, file.checksum):
        report(-_size(partial))
        partial.unlink()
        if resumed:
            _LOGGER.warning("%s: %s: what was here was damaged; fetching it anew", model.repo, file.name)
            return _fetch_whole(model, file, url, partial, report, patience, sleep)
        raise PullFailed(
            f"{model.repo}: {file.name}: its bytes do not have the checksum that the hub lists; they were deleted; try again later"
        )
    return None


def _transfer(
    model: CachedModel, file: RemoteFile, url: str, partial: Path, report: Report, patience: Patience
) -> None:
    """One request for what is missing. Raises _Interrupted."""
    start = _size(partial)
    if start > file.size:
        report(-start)
        partial.unlink()
        start = 0
    if start == file.size and partial.exists():
        return
    headers = {**request_headers(), "Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with answer_to(url, headers, patience.silence_s) as response:
            begins = _require_answer(model, file, response, start)
            with partial.open("ab" if begins else "wb", buffering=0) as out:
                report(begins - start)
                _receive(response, out.write, file.size - begins, report, patience)
                os.fsync(out.fileno())
    except httpx2.TimeoutException:
        raise _Interrupted(f"nothing came for {patience.silence_s:g} s") from None
    except (httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
        if isinstance(error, httpx2.ConnectError):
            raise _Interrupted(f"the connection could not be made ({error})") from None
        raise _Interrupted("the connection broke") from None
    if _size(partial) < file.size:
        raise _Interrupted("the answer ended early")


def _require_answer(model: CachedModel, file: RemoteFile, response: httpx2.Response, start: int) -> int:
    """Where its bytes begin: at `start`, or at 0 where the server ignores ranges. Raises for an answer that is not the file."""
    status = response.status_code
    if status in (408, 429, 500, 502, 503, 504):
        raise _Interrupted(f"the hub answered {status}")
    if status == 416:  # it has less than is here
        raise PullFailed(f"{model.repo}: {file.name}: the hub has fewer bytes than its list says; try again later")
    if status not in (200, 206):
        raise refusal(model.repo, status, response.headers, what=f"file {file.name}")
    begins, total = (0, response.headers.get("Content-Length")) if status == 200 else _range_of(response)
    if response.headers.get("Content-Encoding", "identity") != "identity":
        if status == 206:
            raise PullFailed(
                f"{model.repo}: {file.name}: comes compressed, in parts that do not fit together; check the proxy"
            )
        total = None  # of the compressed bytes
    if status == 206 and begins != start:
        raise _Interrupted("the hub sent another part than was asked for")
    if "text/html" in response.headers.get("Content-Type", "") and total != str(file.size):
        raise PullFailed(
            f"{model.repo}: {file.name}: a web page came instead; is a sign-in page or a proxy in the way?"
        )
    if total is not None and total.isdigit() and int(total) != file.size:
        raise PullFailed(
            f"{model.repo}: {file.name}: has {total} bytes where it lies, but {file.size} in the hub's list; try again later"
        )
    return begins


def _range_of(response: httpx2.Response) -> tuple[int, str | None]:
    """Start and total of a Content-Range: `bytes 5-9/10`."""
    span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    first = span.partition("-")[0]
    return (int(first) if first.isdigit() else -1), total or None


def _receive(
    response: httpx2.Response, write: Callable[[bytes], object], most: int, report: Report, patience: Patience
) -> None:
    """Write at most `most` bytes: a server may send more than it said. Raises _Interrupted where they come too slowly."""
    began, counted = time.monotonic(), 0
    for piece in response.iter_bytes():
        kept = piece[:most]
        view = memoryview(kept)
        while view:
            done = write(bytes(view))
            view = view[int(done) if isinstance(done, int) else len(view) :]
        report(len(kept))
        most -= len(kept)
        counted += len(kept)
        now = time.monotonic()
        if most <= 0:
            return
        if now - began > patience.window_s:
            if counted < patience.slowest * (now - began):
                raise _Interrupted(f"only {counted} bytes came in {now - began:.0f} s")
            began, counted = now, 0


def _is_whole(blob: Path, file: RemoteFile) -> bool:
    try:
        return blob.stat().st_size == file.size and matches(blob, file.checksum)
    except OSError:
        return False


def _clean(blob: Path, *, but: Path | None = None) -> None:
    """Delete what other interrupted transfers left of this blob; nobody writes it while its lock is held."""
    for other in blob.parent.glob(f"{blob.name}*{INCOMPLETE}"):
        if other != but:
            other.unlink(missing_ok=True)


@contextmanager
def _alone(model: CachedModel, file: RemoteFile) -> Iterator[None]:
    """Hold the lock by which the hub's client guards a blob, too."""
    model.locks.mkdir(parents=True, exist_ok=True)
    try:
        with file_lock(model.locks / f"{file.checksum}.lock", patience_s=5.0):
            yield
    except TimeoutError:
        raise PullFailed(f"{model.repo}: another program fetches {file.name} now; wait for it, or end it") from None


@contextmanager
def _on_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PullFailed(
            f"{describe(error, path, action='written')}; what came is kept, and HF_HUB_CACHE names another place"
        ) from None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _state(checksum: str, size: int) -> "hashlib._Hash":
    if len(checksum) == 64:
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)  # git's
