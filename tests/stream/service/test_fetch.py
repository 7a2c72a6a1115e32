"""Which addresses count as public."""

import pytest

from afterview.configs import UsageError
from afterview.stream.service.fetch import fetch, is_public


@pytest.mark.parametrize("place", ["1.1.1.1", "93.184.216.34", "2606:4700::1111"])
def test_public_addresses(place: str) -> None:
    assert is_public(place)


@pytest.mark.parametrize(
    "place",
    [
        "127.0.0.1", "10.0.0.7", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
        "::1", "::", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1",
    ],
)  # fmt: skip
def test_private_addresses(place: str) -> None:
    assert not is_public(place)


@pytest.mark.parametrize(
    "url", ["http://", "http:///x", "ftp://host/x", "http://h\u00f6st/", "http://x" * 900, "http://a:99999/"]
)
async def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(UsageError):
        await fetch(url, ["*"], 10)
