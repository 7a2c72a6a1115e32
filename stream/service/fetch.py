"""Reads the file that an address of a client names: over HTTP from hosts that are allowed, or from folders that are allowed.

A client must not reach through the service what it cannot reach itself. `*` allows public hosts only; a private one must be named. Each
host is resolved once, and the connection goes to the address that was checked (a name may mean another one a moment later). Redirects are
checked like the first address. A file is opened first and judged by where it is then, so a link that is swapped gains nothing.
"""

import asyncio
import ipaddress
import os
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import httpx2

from afterview.configs import UsageError
from afterview.configs.system_errors import reason
from afterview.stream.errors import SourceUnreachable
from afterview.stream.service.openai_config import ANY_PUBLIC

_MOST_REDIRECTS = 3
_LONGEST_S = 30.0
_PORTS = {"http": 80, "https": 443}
_LONGEST_URL = 4096  # characters


@dataclass(frozen=True)
class Target:
    """One address to fetch. place: the IP address that the host means."""

    scheme: str
    host: str
    port: int
    path: str
    place: str


async def fetch(url: str, hosts: Sequence[str], most: int) -> bytes:
    """The file at an http(s) address. hosts: those that are allowed. most: bytes. Raises UsageError, SourceUnreachable.

    Errors name the host alone: the rest of an address may hold secrets.
    """
    try:
        async with asyncio.timeout(_LONGEST_S):
            for _ in range(_MOST_REDIRECTS + 1):
                target = await _resolved(url, hosts)
                found = await _get(target, most)
                if isinstance(found, bytes):
                    return found
                url = _joined(url, found)
    except TimeoutError:
        raise SourceUnreachable(f"{_host(url)}: did not send the file within {_LONGEST_S:g} s") from None
    raise UsageError(f"{_host(url)}: more than {_MOST_REDIRECTS} redirects")


async def _resolved(url: str, hosts: Sequence[str]) -> Target:
    """Where an address leads. Raises UsageError for one that is not allowed, SourceUnreachable for an unknown name."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise UsageError("malformed address") from None
    if len(url) > _LONGEST_URL or parts.scheme not in _PORTS or not host or not host.isascii():
        raise UsageError("not an http or https address with a host (an international name: in its xn-- form)")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"{host}: addresses with a user or a password are not taken; send the file itself, as a data: URL"
        )
    named = host in {one.lower() for one in hosts}
    if not named and ANY_PUBLIC not in hosts:
        raise UsageError(f"{host}: this service does not fetch from it; openai.allow_urls allows hosts")
    port = port or _PORTS[parts.scheme]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise SourceUnreachable(f"{host}: its name is not known") from None
    places = [str(one[4][0]) for one in found]
    if not named and not all(is_public(place) for place in places):
        raise UsageError(f"{host}: is a host of a private network; openai.allow_urls must name it")
    query = f"?{parts.query}" if parts.query else ""
    return Target(parts.scheme, host, port, (parts.path or "/") + query, places[0])


def is_public(place: str) -> bool:
    """Whether an IP address belongs to the public internet, also one that is wrapped in an IPv6 address."""
    address = ipaddress.ip_address(place.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None and not is_public(str(inner)):
            return False
    return address.is_global and not address.is_multicast


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


async def _get(target: Target, most: int) -> bytes | str:
    """The file, or where it was moved."""
    place = f"[{target.place}]" if ":" in target.place else target.place
    name = f"[{target.host}]" if ":" in target.host else target.host
    host = name if target.port == _PORTS[target.scheme] else f"{name}:{target.port}"
    headers = {"Host": host, "Accept": "video/*, image/*", "Accept-Encoding": "identity"}
    try:
        async with (
            httpx2.AsyncClient(timeout=_LONGEST_S, trust_env=False, follow_redirects=False) as client,
            client.stream(
                "GET", f"{target.scheme}://{place}:{target.port}{target.path}", headers=headers,
                extensions={"sni_hostname": target.host},
            ) as response,
        ):  # fmt: skip
            if response.is_redirect:
                return response.headers.get("location", "")
            if response.status_code != 200:
                raise UsageError(f"{target.host}: answered with status {response.status_code}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise UsageError(f"{target.host}: sends the file compressed, which is not taken")
            parts, size = [], 0
            async for part in response.aiter_raw():
                size += len(part)
                if size > most:
                    raise UsageError(f"{target.host}: the file has more than {most} bytes (openai.largest_bytes)")
                parts.append(part)
            return b"".join(parts)
    except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, OSError) as error:
        raise SourceUnreachable(f"{target.host}: {type(error).__name__}: the file could not be fetched") from None


def _joined(url: str, moved: str) -> str:
    """Where a redirect leads. Raises UsageError."""
    try:
        return urljoin(url, moved)
    except ValueError:
        raise UsageError(f"{_host(url)}: redirects to a malformed address") from None


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "?"
    except ValueError:
        return "?"


def read_file(url: str, folders: Sequence[Path], most: int) -> bytes:
    """The file that a file: address names, if it lies in one of these folders. Raises UsageError.

    A file elsewhere and one that does not exist give the same error: nobody learns what else this machine has.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)
    refused = UsageError("no such file in the folders that this service allows (openai.folders)")
    if parts.netloc not in ("", "localhost") or not path.startswith("/") or "\0" in path or not folders:
        raise refused
    try:
        real = os.path.realpath(path, strict=True)
        if not _lies_in(real, folders):
            raise refused
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (OSError, ValueError):
        raise refused from None
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode) or not _lies_in(os.path.realpath(f"/proc/self/fd/{descriptor}"), folders):
            raise refused
        if state.st_size > most:
            raise UsageError(
                f"has {state.st_size} bytes; at most {most} are taken (openai.largest_bytes): `afterview replay` records larger files"
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(most)
    except OSError as error:
        raise UsageError(f"cannot be read: {reason(error)}") from None
    finally:
        os.close(descriptor)


def _lies_in(real: str, folders: Sequence[Path]) -> bool:
    return any(Path(real).is_relative_to(os.path.realpath(folder)) for folder in folders)
