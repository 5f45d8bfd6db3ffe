"""Mutual TLS: who has a certificate of the authority gets through, everybody else is turned away; no half settings."""

from pathlib import Path

import grpc
import grpc.aio
import pytest
from certificates import certificate
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hiper.errors import ConfigError
from hiper.rpc import Listen, TlsFiles, open_channel, serve
from hiper.rpc.tls import CA_VARIABLE, CERTIFICATE_VARIABLE, KEY_VARIABLE

NAMES = {"ca": "", "server": "ca", "client": "ca", "other-ca": "", "stranger": "other-ca"}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    for name, issuer in NAMES.items():
        certificate(folder, name, issuer)
    return folder


def files(pki: Path, name: str, ca: str = "ca") -> TlsFiles:
    return TlsFiles(pki / f"{name}.pem", pki / f"{name}.key", pki / f"{ca}.pem")


async def ask(channel: grpc.aio.Channel) -> object:
    async with channel:
        return await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)


async def turned_away(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(channel)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_both_ends_must_show_a_certificate_of_the_authority(pki: Path) -> None:
    async with serve(Listen(tls=files(pki, "server")), {}) as server:
        assert await ask(open_channel(server.address, tls=files(pki, "client")))
        await turned_away(open_channel(server.address))  # plain text
        await turned_away(open_channel(server.address, tls=files(pki, "stranger")))  # the server refuses the client
        await turned_away(open_channel(server.address, tls=files(pki, "client", "other-ca")))  # and the other way round
        await turned_away(open_channel(server.address, tls=files(pki, "client"), server_name="made-out-to-another"))
        anonymous = grpc.ssl_channel_credentials((pki / "ca.pem").read_bytes())
        await turned_away(grpc.aio.secure_channel(server.address, anonymous))


async def test_a_token_may_be_asked_for_as_well(pki: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    async with serve(Listen(token_file=token, tls=files(pki, "server")), {}) as server:
        assert await ask(open_channel(server.address, token, files(pki, "client")))


async def test_services_and_clients_take_the_files_from_the_same_variables(
    pki: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CERTIFICATE_VARIABLE, str(pki / "server.pem"))
    monkeypatch.setenv(KEY_VARIABLE, str(pki / "server.key"))
    monkeypatch.setenv(CA_VARIABLE, str(pki / "ca.pem"))
    listen = Listen.from_environment()
    assert listen.tls == files(pki, "server")
    async with serve(listen, {}) as server:
        assert await ask(open_channel(server.address))


def test_an_open_address_may_have_certificates_instead_of_a_token(pki: Path) -> None:
    assert Listen("0.0.0.0:1", tls=files(pki, "server")).token_file is None


@pytest.mark.parametrize(
    "given", [(CERTIFICATE_VARIABLE,), (KEY_VARIABLE, CA_VARIABLE), (CERTIFICATE_VARIABLE, KEY_VARIABLE)]
)
def test_half_settings_are_refused_by_name(given: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in given:
        monkeypatch.setenv(name, "somewhere.pem")
    with pytest.raises(ConfigError, match="set by halves") as refused:
        Listen.from_environment()
    for name in {CERTIFICATE_VARIABLE, KEY_VARIABLE, CA_VARIABLE} - set(given):
        assert name in refused.value.message
    with pytest.raises(ConfigError, match="set by halves"):
        open_channel("127.0.0.1:1")


@pytest.mark.parametrize(
    ("name", "key", "ca"),
    [("server", "client", "ca"), ("server", "none", "ca"), ("none", "server", "ca"), ("server", "server", "torn")],
    ids=["another key", "no key", "no certificate", "no certificate in the file"],
)
def test_files_that_cannot_be_used_are_one_clear_error(pki: Path, name: str, key: str, ca: str) -> None:
    (pki / "torn.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    with pytest.raises(ConfigError, match="cannot use the TLS files"):
        TlsFiles(pki / f"{name}.pem", pki / f"{key}.key", pki / f"{ca}.pem")
