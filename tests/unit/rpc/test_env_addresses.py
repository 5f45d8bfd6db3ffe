"""What `env.addresses` stand for: one server, a range of ports, or whatever a name has now."""

import asyncio
from collections.abc import Sequence

import pytest

from hiper.errors import ConfigError
from hiper.rpc.env_addresses import Directory, Place, look_up
from hiper.rpc.patience import TryAgain


class Names:
    """A resolver under the test's control."""

    def __init__(self, *found: str) -> None:
        self.found: Sequence[str] = found
        self.fails = False
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        await asyncio.sleep(0)
        assert (host, port) == ("env", 50051)
        if self.fails:
            raise OSError("Name or service not known")
        return self.found


async def test_ports_of_a_range_are_servers_beside_single_ones() -> None:
    found = await Directory(("a:1", "b:8600-8602", "[::1]:7-7", "unix:/run/x")).places()
    assert [place.address for place in found] == ["a:1", "b:8600", "b:8601", "b:8602", "[::1]:7", "unix:/run/x"]


@pytest.mark.parametrize("name", ["b:9-8", "b:0-3", "b:8600-86000", "dns:///b", "dns:///", "dns:///b:1-2"])
def test_what_is_no_address_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match="is no address") as refused:
        Directory((name,))
    assert name in refused.value.message


def test_no_address_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"env\.addresses is empty"):
        Directory(())


async def test_a_name_stands_for_all_its_addresses_and_is_what_the_certificates_are_made_out_to() -> None:
    names = Names("10.0.0.1", "fd00::2")
    directory = Directory(("fixed:1", "dns:///env:50051"), ask=names, refresh_s=3600)
    expected = [Place("fixed:1"), Place("10.0.0.1:50051", "env"), Place("[fd00::2]:50051", "env")]
    for found in await asyncio.gather(*(directory.places() for _ in range(5))):
        assert found == expected
    assert names.asked == 1


async def test_servers_come_and_go() -> None:
    names = Names("10.0.0.1")
    directory = Directory(("dns:///env:50051",), ask=names, refresh_s=0)
    assert [place.address for place in await directory.places()] == ["10.0.0.1:50051"]
    names.found = ("10.0.0.2", "10.0.0.3")
    assert [place.address for place in await directory.places()] == ["10.0.0.2:50051", "10.0.0.3:50051"]
    names.fails = True  # what was known is better than nothing
    assert len(await directory.places()) == 2


async def test_a_name_nobody_knows_yet_is_asked_for_again() -> None:
    names = Names()
    directory = Directory(("dns:///env:50051",), ask=names, refresh_s=0)
    with pytest.raises(TryAgain, match="env has no address"):
        await directory.places()
    names.fails = True
    with pytest.raises(TryAgain, match="cannot look up env: Name or service not known"):
        await directory.places()
    names.fails, names.found = False, ("10.0.0.1",)
    assert len(await directory.places()) == 1


async def test_the_systems_resolver_is_asked() -> None:
    assert "127.0.0.1" in await look_up("localhost", 50051) or "::1" in await look_up("localhost", 50051)
