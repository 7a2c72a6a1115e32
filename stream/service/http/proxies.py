"""Proxies in front of the service. X-Forwarded-For and X-Forwarded-Proto count only from those that the configuration names."""

import ipaddress
from collections.abc import MutableMapping, Sequence
from typing import Any

from starlette.datastructures import Headers

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MOST_HOPS = 32


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Addresses and networks as values. Raises ValueError."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def see_through(scope: MutableMapping[str, Any], headers: Headers, trusted: Sequence[Network]) -> None:
    """Let the scope name the client and the scheme that the nearest proxy saw, if it is trusted; of several, the first that is not."""
    address = scope["client"][0] if scope.get("client") else ""
    if not trusted or not _is_one_of(address, trusted):
        return
    hops = ",".join(headers.getlist("x-forwarded-for")).split(",")[-_MOST_HOPS:]
    for hop in reversed([hop.strip() for hop in hops]):
        if _parsed(hop) is None:  # nobody knows what a proxy means by it
            break
        address = hop
        if not _is_one_of(hop, trusted):
            break
    scope["client"] = (address, 0)
    scheme = ",".join(headers.getlist("x-forwarded-proto")).split(",")[-1].strip().lower()
    if scheme in ("http", "https"):
        scope["scheme"] = scheme


def _is_one_of(address: str, trusted: Sequence[Network]) -> bool:
    found = _parsed(address)
    return found is not None and any(found.version == network.version and found in network for network in trusted)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
