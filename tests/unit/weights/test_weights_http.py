"""Versions over HTTP: exact, resumed, relayed, by delta; every failure is named and leaves the old version alone."""

import asyncio
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from weights_world import SETTINGS, SHARDS, WORDS, Learner, learner, metric, model, received, rollout

from hiper.chaos.proxy import FaultProxy, Faults
from hiper.config.weights import WeightsSettings
from hiper.errors import ConfigError, IntegrityError, RemoteError
from hiper.weights import open_source, verify, version_directory, write_version
from hiper.weights.front import open_front
from hiper.weights.http_source import HttpSource
from hiper.weights.shelf import Shelf, serve_weights

WHOLE = 2 * WORDS


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Learner]:
    with learner(tmp_path / "learner") as started:
        yield started


def until(holds: object, seconds: float = 30.0) -> None:
    give_up = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < give_up, "it did not come"
        time.sleep(0.005)


def test_a_version_arrives_as_it_was_published(desk: Learner, tmp_path: Path) -> None:
    published = desk.publish(3)
    with open_source(tmp_path / "cache", SETTINGS) as source:
        directory = source.fetch(3, desk.url, published.manifest_sha256)
        assert directory != published.directory
        assert verify(directory, published.manifest_sha256).version == 3
        before = received("learner")
        assert source.fetch(3, desk.url, published.manifest_sha256) == directory
        assert received("learner") == before, "what is here is not fetched again"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["v000003"]


def test_what_is_in_the_cache_of_an_earlier_life_is_verified_and_used(desk: Learner, tmp_path: Path) -> None:
    desk.publish(1)
    with rollout(tmp_path / "cache") as source:
        directory = desk.bring(source, 1)
    before = received("learner")
    with rollout(tmp_path / "cache") as source:
        assert desk.bring(source, 1) == directory
    assert received("learner") == before
    (directory / SHARDS[0]).write_bytes(b"\0" * WORDS)
    with rollout(tmp_path / "cache") as source:
        verify(desk.bring(source, 1), desk.versions[1].manifest_sha256)


def test_a_version_takes_only_what_changed(desk: Learner, tmp_path: Path) -> None:
    desk.publish(1)
    desk.publish(2, delta_to=1)
    with rollout(tmp_path / "cache") as source:
        desk.bring(source, 1)
        before, deltas = received("learner"), metric("deltas_applied_total")
        verify(desk.bring(source, 2), desk.versions[2].manifest_sha256)
        assert received("learner") - before < 0.05 * WHOLE
        assert metric("deltas_applied_total") == deltas + 1


def test_without_the_base_or_with_a_damaged_delta_all_of_it_is_fetched(desk: Learner, tmp_path: Path) -> None:
    desk.publish(1)
    desk.publish(2, delta_to=1)
    with rollout(tmp_path / "late") as late:
        verify(desk.bring(late, 2), desk.versions[2].manifest_sha256)
    for damaged in (desk.root / "deltas" / "v000002").glob("*.delta"):
        damaged.write_bytes(damaged.read_bytes()[:-4] + b"oops")
    with rollout(tmp_path / "cache") as source:
        desk.bring(source, 1)
        before = metric('failures_total{stage="delta"}')
        verify(desk.bring(source, 2), desk.versions[2].manifest_sha256)
        assert metric('failures_total{stage="delta"}') == before + 1


def test_a_corrupt_shard_is_named_and_the_old_version_stays(desk: Learner, tmp_path: Path) -> None:
    desk.publish(1)
    published = desk.publish(2)
    shard = published.directory / SHARDS[1]
    good = shard.read_bytes()
    shard.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with rollout(tmp_path / "cache") as source:
        old = desk.bring(source, 1)
        with pytest.raises(IntegrityError, match=SHARDS[1]):
            desk.bring(source, 2)
        assert not version_directory(tmp_path / "cache", 2).exists()
        verify(old, desk.versions[1].manifest_sha256)
        shard.write_bytes(good)
        verify(desk.bring(source, 2), published.manifest_sha256)


def test_a_missing_shard_or_version_is_named(desk: Learner, tmp_path: Path) -> None:
    published = desk.publish(1)
    with rollout(tmp_path / "cache") as source:
        with pytest.raises(RemoteError, match="version 7"):
            source.fetch(7, desk.url, "0" * 64)
        (published.directory / SHARDS[0]).unlink()
        with pytest.raises(RemoteError, match="version 1"):
            desk.bring(source, 1)
        with pytest.raises(IntegrityError, match="holds version 1"):
            source.fetch(2, desk.url, published.manifest_sha256)
        with pytest.raises(ConfigError):
            source.fetch(1, "file:///somewhere", published.manifest_sha256)


async def test_a_broken_download_goes_on_where_it_stopped(desk: Learner, tmp_path: Path) -> None:
    desk.publish(1)
    before = received("learner")
    async with FaultProxy("127.0.0.1", int(desk.url.rsplit(":", 1)[1]), random.Random(0)) as link:
        link.faults = Faults(bytes_per_s=4e6)
        with rollout(tmp_path / "cache", relay=False) as source:
            through = f"http://127.0.0.1:{link.port}"
            fetching = asyncio.create_task(asyncio.to_thread(desk.bring, source, 1, through=through))
            await asyncio.to_thread(until, lambda: received("learner") - before > WHOLE / 4)
            assert link.reset_connections()
            link.faults = Faults()
            verify(await fetching, desk.versions[1].manifest_sha256)
    assert received("learner") - before == WHOLE + 2, "no byte was counted twice"


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from weights_world import rollout
with rollout(Path(sys.argv[2])) as source:
    source.fetch(1, sys.argv[3], sys.argv[4])
"""


async def test_a_rollout_killed_in_the_middle_goes_on_in_its_next_life(desk: Learner, tmp_path: Path) -> None:
    published, cache = desk.publish(1), tmp_path / "cache"
    async with FaultProxy("127.0.0.1", int(desk.url.rsplit(":", 1)[1]), random.Random(0)) as link:
        link.faults = Faults(bytes_per_s=1e6)
        arguments = (Path(__file__).parent, cache, f"http://127.0.0.1:{link.port}", published.manifest_sha256)
        life = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, *map(str, arguments))
        size = lambda: sum(path.stat().st_size for path in cache.rglob("*.part"))  # noqa: E731
        await asyncio.to_thread(until, lambda: size() >= WHOLE / 8)
        life.send_signal(signal.SIGKILL)
        await life.wait()
    assert not version_directory(cache, 1).exists(), "a version that is not whole has no name"
    had, before = size(), received("learner")
    with rollout(cache) as source:
        verify(desk.bring(source, 1), published.manifest_sha256)
    assert received("learner") - before <= WHOLE + 2 - had


def test_a_learner_killed_in_the_middle_of_publishing_is_as_if_it_had_not_begun(desk: Learner, tmp_path: Path) -> None:
    desk.publish(1)
    program = (
        "import sys, time; from pathlib import Path; from hiper.weights import write_version\n"
        "def write(directory):\n"
        "    (directory / 'model.safetensors').write_bytes(b'half'); print('writing', flush=True); time.sleep(600)\n"
        "write_version(Path(sys.argv[1]), 2, write, {})"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(desk.root)], stdout=subprocess.PIPE, text=True) as life:
        assert life.stdout is not None
        assert life.stdout.readline() == "writing\n"
        life.kill()
    assert not version_directory(desk.root, 2).exists()
    with rollout(tmp_path / "cache") as source:
        verify(desk.bring(source, 1), desk.versions[1].manifest_sha256)
        desk.publish(2)
        verify(desk.bring(source, 2), desk.versions[2].manifest_sha256)
    assert sorted(path.name for path in desk.root.iterdir()) == ["v000001", "v000002"]


def test_a_learner_that_comes_back_elsewhere_ends_what_the_first_one_began(tmp_path: Path) -> None:
    """The second one has the same files under another address: nothing that has arrived is fetched again."""
    with rollout(tmp_path / "cache") as source:
        with learner(tmp_path / "learner") as first:
            published = first.publish(1)
            (published.directory / SHARDS[1]).rename(tmp_path / "aside")
            with pytest.raises(RemoteError):
                first.bring(source, 1)
        (tmp_path / "aside").rename(published.directory / SHARDS[1])
        with learner(tmp_path / "learner") as second:
            second.publish(1)
            verify(second.bring(source, 1), published.manifest_sha256)


def test_rollouts_pass_on_what_they_have(desk: Learner, tmp_path: Path) -> None:
    desk.publish(1)
    with rollout(tmp_path / "a") as first, rollout(tmp_path / "b") as second, rollout(tmp_path / "c") as third:
        desk.bring(first, 1)
        sent = received("learner")
        for source in (second, third):
            verify(desk.bring(source, 1), desk.versions[1].manifest_sha256)
        assert received("learner") - sent < 0.01 * WHOLE, "the learner sends small files only"


def test_many_at_once_get_it_through_one_upload_slot(tmp_path: Path) -> None:
    with learner(tmp_path / "learner", SETTINGS.model_copy(update={"upload_slots": 1})) as desk:
        desk.publish(1)

        def life(number: int) -> Path:
            with rollout(tmp_path / f"cache-{number}") as source:
                return desk.bring(source, 1)

        with ThreadPoolExecutor(6) as pool:
            for directory in pool.map(life, range(6)):
                verify(directory, desk.versions[1].manifest_sha256)


def test_a_holder_with_wrong_bytes_costs_time_only(desk: Learner, tmp_path: Path) -> None:
    published = desk.publish(1)
    liar = Shelf()
    with serve_weights(liar, SETTINGS) as url, rollout(tmp_path / "cache") as source:
        for file in verify(published.directory).files:
            (tmp_path / file.name).write_bytes(b"\x55" * file.bytes)
            liar.put(file.sha256, tmp_path / file.name)
            desk.shelf.offer(url, [file.sha256])
        verify(desk.bring(source, 1), published.manifest_sha256)


def test_a_holder_that_is_gone_costs_time_only(desk: Learner, tmp_path: Path) -> None:
    published = desk.publish(1)
    with rollout(tmp_path / "gone") as gone:
        desk.bring(gone, 1)
    with rollout(tmp_path / "cache") as source:
        verify(desk.bring(source, 1), published.manifest_sha256)


async def test_a_learner_that_is_silent_is_a_failure_with_its_bound(desk: Learner, tmp_path: Path) -> None:
    desk.publish(1)
    async with FaultProxy("127.0.0.1", int(desk.url.rsplit(":", 1)[1]), random.Random(0)) as link:
        link.faults = Faults(black_hole=True)
        through = f"http://127.0.0.1:{link.port}"
        expected = pytest.raises(RemoteError, match=f"version 1 from {through}.*unavailable_timeout_s")
        with rollout(tmp_path / "cache", silence_timeout_s=0.1, unavailable_timeout_s=0.3) as source, expected:
            await asyncio.to_thread(desk.bring, source, 1, through=through)


async def test_closing_ends_a_fetch(desk: Learner, tmp_path: Path) -> None:
    desk.publish(1)
    before = received("learner")
    async with FaultProxy("127.0.0.1", int(desk.url.rsplit(":", 1)[1]), random.Random(0)) as link:
        link.faults = Faults(bytes_per_s=1e6)
        with rollout(tmp_path / "cache") as source:
            through = f"http://127.0.0.1:{link.port}"
            fetching = asyncio.create_task(asyncio.to_thread(desk.bring, source, 1, through=through))
            await asyncio.to_thread(until, lambda: received("learner") > before)
            source.close()
            with pytest.raises(RemoteError, match="stopped"):
                await fetching
            with pytest.raises(RemoteError, match="stopped"):
                await asyncio.to_thread(desk.bring, source, 1)


def test_a_token_is_asked_for_and_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "token"
    secret.write_text("open sesame\n")
    monkeypatch.setenv("HIPER_GRPC_TOKEN_FILE", str(secret))
    with learner(tmp_path / "learner", SETTINGS.model_copy(update={"address": "0.0.0.0:0", "advertise": "http://h:1"})):
        pass
    with learner(tmp_path / "learner") as desk:
        published = desk.publish(1)
        with rollout(tmp_path / "cache") as source:
            verify(desk.bring(source, 1), published.manifest_sha256)
        stranger = HttpSource(tmp_path / "stranger", SETTINGS)
        with pytest.raises(RemoteError, match="401 the bearer token"):
            desk.bring(stranger, 1)


def test_beyond_loopback_a_token_and_a_name_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HIPER_GRPC_TOKEN_FILE", raising=False)
    public = SETTINGS.model_copy(update={"address": "0.0.0.0:0"})
    with pytest.raises(ConfigError, match="without authentication"), serve_weights(Shelf(), public):
        pass
    (tmp_path / "token").write_text("x")
    monkeypatch.setenv("HIPER_GRPC_TOKEN_FILE", str(tmp_path / "token"))
    with pytest.raises(ConfigError, match="tells others no host"), serve_weights(Shelf(), public):
        pass


def test_prune_leaves_the_newest_fetched(desk: Learner, tmp_path: Path) -> None:
    with rollout(tmp_path / "cache", keep_fetched=2) as source:
        for version in range(4):
            desk.publish(version)
            desk.bring(source, version)
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["v000002", "v000003"]


def test_a_republished_version_of_other_numbers_replaces_the_first(desk: Learner, tmp_path: Path) -> None:
    desk.publish(1)
    with rollout(tmp_path / "cache") as source:
        desk.bring(source, 1)
        again = write_version(desk.root, 1, lambda folder: (folder / "w").write_bytes(b"new") and None, {"attempt": 2})
        desk.shelf.put_version(again.directory)
        directory = source.fetch(1, desk.url, again.manifest_sha256)
        assert (directory / "w").read_bytes() == b"new"


def test_threads_end_with_the_server(tmp_path: Path) -> None:
    before = threading.active_count()
    with learner(tmp_path / "learner"):
        assert threading.active_count() > before
    until(lambda: threading.active_count() <= before)


def test_what_the_front_offers_can_be_fetched(tmp_path: Path) -> None:
    root = tmp_path / "weights"
    with open_front(SETTINGS) as front, open_source(tmp_path / "cache", SETTINGS) as source:
        for version in range(3):
            written = write_version(root, version, model(version), {})
            for uri in (front.offer(written), front.offer(written)):  # a learner that comes back offers it again
                verify(source.fetch(version, uri, written.manifest_sha256), written.manifest_sha256)
    assert metric("deltas_applied_total") >= 2
    with open_front(WeightsSettings()) as front, open_source(tmp_path / "cache", WeightsSettings()) as source:
        assert source.fetch(2, front.offer(written), written.manifest_sha256) == written.directory
        with pytest.raises(ConfigError, match=r"same weights\.transport"):
            source.fetch(2, "http://127.0.0.1:1", written.manifest_sha256)
