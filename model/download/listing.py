"""What the hub has of a model: the files of a revision with sizes and checksums. One request, bounded in time and in size."""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx2
import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import OfflineModeIsEnabled

from afterview.model.base.errors import HubUnreachable, PullFailed
from afterview.model.checkpoint.pair import tower_shards
from afterview.model.download.cache import is_safe_name

ANSWER_S = 15.0  # for a whole answer of the hub's interface
_MOST_REDIRECTS = 10
_MOST_BYTES = 32 << 20  # of such an answer
_COMMIT, _SHA256, _BLOB_ID = (re.compile(rf"[0-9a-f]{{{digits}}}") for digits in (40, 64, 40))


@dataclass(frozen=True)
class RemoteFile:
    """A file on the hub. checksum: sha256 (64 digits) of a large file, git's blob id (40 digits) of a small one; names the blob."""

    name: str
    size: int
    checksum: str


@dataclass(frozen=True)
class Listing:
    """A revision of a model on the hub."""

    repo: str
    commit: str
    files: Mapping[str, RemoteFile]

    def url(self, name: str) -> str:
        """Of a file."""
        return f"{endpoint()}/{self.repo}/resolve/{self.commit}/{quote(name)}"


def endpoint() -> str:
    """Address of the hub: HF_ENDPOINT, else the public one."""
    return constants.ENDPOINT


def list_model(repo: str, revision: str) -> Listing:
    """The files of a revision. Raises HubUnreachable if the hub cannot be asked, PullFailed if its answer is no list of files."""
    url = f"{endpoint()}/api/models/{repo}/revision/{quote(revision, safe='')}"
    with explained(repo):
        status, headers, body = _ask(f"{url}?blobs=true", repo)
    if status != 200:
        raise refusal(repo, status, headers, what=f"revision '{revision}'")
    try:
        document = json.loads(body)
    except ValueError:
        raise PullFailed(_no_hub(repo, headers)) from None
    if not isinstance(document, dict) or not isinstance(document.get("siblings"), list):
        raise PullFailed(_no_hub(repo, headers))
    commit = document.get("sha")
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise PullFailed(f"{repo}: {endpoint()} names no commit; if HF_ENDPOINT is set, it must lead to a hub")
    return Listing(repo, commit, dict(_files(repo, document["siblings"])))


def read_small(listing: Listing, name: str) -> dict[str, Any]:
    """A JSON object on the hub, kept nowhere; empty if it is none: the pull or the loading says what is wrong. Raises HubUnreachable."""
    with explained(listing.repo):
        status, _, body = _ask(listing.url(name), listing.repo)
    try:
        found = json.loads(body) if status == 200 else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def without_text_shards(names: Sequence[str], listing: Listing) -> list[str]:
    """Of the files of an encoder those that are read. Of one in shards, what its index says of the text tower alone is not."""
    index = next((name for name in names if name.endswith(".index.json")), None)
    weights = read_small(listing, index).get("weight_map") if index is not None else None
    named = {str(name): str(file) for name, file in weights.items()} if isinstance(weights, dict) else {}
    text = set(named.values()) - tower_shards(named) if tower_shards(named) else set()
    return [name for name in names if name not in text]


def _files(repo: str, siblings: list[Any]) -> Iterator[tuple[str, RemoteFile]]:
    for entry in siblings:
        name = entry.get("rfilename") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            raise PullFailed(f"{repo}: the hub's list of files has an entry without a name; try again later")
        if not is_safe_name(name):
            raise PullFailed(
                f"{repo}: the hub lists {name!r}, a name that leaves the model's directory; nothing was fetched"
            )
        lfs = entry.get("lfs")
        large = lfs if isinstance(lfs, dict) else {}
        size, checksum = large.get("size", entry.get("size")), large.get("sha256", entry.get("blobId"))
        if isinstance(size, int) and size >= 0 and isinstance(checksum, str) and (
            _SHA256.fullmatch(checksum) or (not large and _BLOB_ID.fullmatch(checksum))
        ):  # fmt: skip
            yield name, RemoteFile(name, size, checksum)


def request_headers() -> dict[str, str]:
    """Of every request: who asks, and the token if there is one.

    The client's own build_hf_headers first asks the hub which programs are agents, and waits for an answer without an end.
    """
    headers = {"User-Agent": f"afterview; huggingface_hub/{huggingface_hub.__version__}"}
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else huggingface_hub.get_token()
    return headers | ({} if token is None else {"Authorization": f"Bearer {token}"})


@contextmanager
def answer_to(url: str, headers: Mapping[str, str], silence_s: float) -> Iterator[httpx2.Response]:
    """The answer to a GET, its body not read yet. Redirects are followed here: httpx reads their bodies whole, which may have no end.

    A redirect to another host does not get the token. silence_s: for each step of the connection. Raises what httpx raises.
    """
    session = huggingface_hub.get_session()
    request: httpx2.Request | None = session.build_request("GET", url, headers=dict(headers), timeout=silence_s)
    for _ in range(_MOST_REDIRECTS + 1):
        assert request is not None, "a redirect has a next request"
        response = session.send(request, stream=True, follow_redirects=False)
        try:
            request = response.next_request
            if request is None:
                yield response
                return
        finally:
            response.close()
    raise httpx2.TooManyRedirects("too many redirects", request=request)


def _ask(url: str, repo: str) -> tuple[int, httpx2.Headers, bytes]:
    """Status, headers and body of an answer that comes within ANSWER_S."""
    deadline, body = time.monotonic() + ANSWER_S, bytearray()
    with answer_to(url, request_headers(), ANSWER_S) as response:
        for piece in response.iter_bytes():
            body += piece
            if time.monotonic() > deadline:
                raise HubUnreachable(
                    f"{repo}: the hub did not answer completely within {ANSWER_S:g} s; try again later"
                )
            if len(body) > _MOST_BYTES:
                raise PullFailed(f"{repo}: the answer of {endpoint()} has no end; if HF_ENDPOINT is set, check it")
        return response.status_code, response.headers, bytes(body)


@contextmanager
def explained(repo: str) -> Iterator[None]:
    """Turns the failures of a connection into HubUnreachable, with the remedy."""
    try:
        yield
    except OfflineModeIsEnabled:
        raise HubUnreachable(f"{repo}: HF_HUB_OFFLINE is set, so nothing is fetched; unset it to pull") from None
    except httpx2.TooManyRedirects:
        raise HubUnreachable(f"{repo}: {endpoint()} redirects in a circle; check HF_ENDPOINT and the proxy") from None
    except httpx2.ProxyError as error:
        raise HubUnreachable(
            f"{repo}: the proxy refuses the connection to {endpoint()} ({error}); check HTTPS_PROXY"
        ) from None
    except httpx2.TimeoutException:
        raise HubUnreachable(f"{repo}: {endpoint()} does not answer; check the network, or try again later") from None
    except httpx2.HTTPError as error:
        raise HubUnreachable(
            f"{repo}: {endpoint()} cannot be reached ({_short(error)}); check the network; a machine without one gets models as "
            "directories, or as a copy of the hub's cache (HF_HUB_CACHE)"
        ) from None
    except httpx2.InvalidURL:
        raise HubUnreachable(f"{repo}: HF_ENDPOINT is {endpoint()!r}, which is no address; correct it") from None


def refusal(repo: str, status: int, headers: Mapping[str, str], *, what: str) -> HubUnreachable:
    """The error for an answer that is none."""
    code = headers.get("X-Error-Code", "")
    token = "set HF_TOKEN to a token of an account that may read it (hf auth login stores one)"
    if code == "GatedRepo" or (status == 403 and code != "RepoNotFound"):
        return HubUnreachable(f"{repo}: access is restricted; accept its terms at {endpoint()}/{repo}, then {token}")
    if status == 401:
        wrong = (
            "the hub refuses the token"
            if huggingface_hub.get_token()
            else "the hub has no such model, or it needs a token"
        )
        return HubUnreachable(f"{repo}: {wrong}; check the spelling at {endpoint()}/{repo}, or {token}")
    if code == "RevisionNotFound":
        return HubUnreachable(f"{repo}: has no {what}; {endpoint()}/{repo}/commits/main lists them")
    if status == 404:
        missing = what if code == "EntryNotFound" else "such model"
        return HubUnreachable(f"{repo}: the hub has no {missing}; check the spelling")
    if status == 429:
        wait = headers.get("Retry-After", "")
        return HubUnreachable(
            f"{repo}: too many requests{f'; try again in {wait} s' if wait.isdigit() else '; try again later'}"
        )
    return HubUnreachable(f"{repo}: the hub answered {status}; try again later")


def _no_hub(repo: str, headers: Mapping[str, str]) -> str:
    kind = headers.get("Content-Type", "").partition(";")[0] or "no type"
    return (
        f"{repo}: {endpoint()} answered with {kind} instead of a list of files; is a sign-in page or a proxy in the way, or HF_ENDPOINT "
        "wrong?"
    )


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200] or type(error).__name__
