"""vLLM servers as they should not be: away, slow, refusing, wrongly set up, lying. A few lines stand in for them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hiper.config import RunConfig
from hiper.errors import ConfigError, RemoteError
from hiper.vocabulary import PolicyVersion, StopReason
from services.rollout import remote_engine
from services.rollout.engine import EngineDead, RequestRefused, Sampling
from services.rollout.remote_engine import RemoteEngine
from services.rollout.vllm_start import engine_arguments

SAMPLING = Sampling(1.0, 0.9, 8, 5)
GOOD = {"model_config": {"logprobs_mode": "processed_logprobs"}, "scheduler_config": {"async_scheduling": False}}


READY = ["hiper_stage", "hiper_staged"]
PAUSED = ["/pause", "hiper_put_in_force", "/update_weight_version", "/resume"]


def _step(path: str, body: dict[str, Any]) -> str:
    return str(body["method"]) if path == "/collective_rpc" else path


@dataclass
class Stand:
    """A server's answers; `refuse` maps a path, or a method of the workers, to the statuses of its next answers."""

    label: str = "default"
    config: dict[str, Any] = field(default_factory=lambda: GOOD)
    refuse: dict[str, list[int]] = field(default_factory=dict)
    workers: dict[str, str | None] = field(default_factory=lambda: {"hiper_stage": "", "hiper_staged": ""})
    """What its workers return, by method."""
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=lambda: [7, 8])
    hold: asyncio.Event | None = None
    url: str = ""
    keys: set[str] = field(default_factory=set)
    """API keys sent."""

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked if path not in ("/health", "/server_info")]

    def steps(self) -> list[str]:
        """Paths, and for calls of the workers their methods."""
        return [_step(path, body) for path, body in self.asked if path not in ("/health", "/server_info")]

    async def answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.asked.append((path, body))
        if waiting := self.refuse.get(_step(path, body)):
            return waiting.pop(0), {"error": "no"}
        if path == "/inference/v1/generate":
            if self.hold is not None:
                await self.hold.wait()
            entries = [{"token_id": token, "logprob": -0.5} for token in (7, 8)]
            span = {"version": self.label, "start": 0, "end": 2}
            choice = {"token_ids": self.token_ids, "logprobs": {"content": entries}, "finish_reason": "stop"}
            usage = {"prompt_tokens_details": {"cached_tokens": 3}}
            return 200, {"choices": [choice | {"weight_versions": [span]}], "usage": usage}
        if path == "/update_weight_version":
            self.label = body["new_version"]
        if path == "/collective_rpc":
            return 200, {"results": [self.workers.get(body["method"])]}
        return 200, {"vllm_config": self.config}


@asynccontextmanager
async def standing(stand: Stand) -> AsyncIterator[Stand]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(x.split(":")[1]) for x in head.splitlines() if x.lower().startswith("content-length")), 0)
        stand.keys |= {x.split(": ")[1] for x in head.splitlines() if x.lower().startswith("authorization")}
        body = json.loads(await reader.readexactly(length) or b"{}")
        status, answer = await stand.answer(head.split()[1].partition("?")[0], body)
        sent = json.dumps(answer).encode()
        writer.write(f"HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {len(sent)}\r\n\r\n".encode() + sent)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    stand.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield stand
    finally:
        server.close()


@asynccontextmanager
async def engine_on(*stands: Stand, **rollout: Any) -> AsyncIterator[RemoteEngine]:
    remote = {"urls": [stand.url for stand in stands], "unavailable_timeout_s": 0.3, **rollout.pop("remote", {})}
    settings = {"engine": "remote", "remote": remote, "generate_timeout_s": 20, **rollout}
    engine = RemoteEngine(RunConfig.model_validate({"model": {"path": "none"}, "rollout": settings}))
    try:
        yield engine
    finally:
        await engine.close()


@pytest.fixture(autouse=True)
def _no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_engine, "stop_token_ids", lambda _model: [2])


async def test_a_request_is_answered_exactly() -> None:
    async with standing(Stand()) as stand, engine_on(stand) as engine:
        await engine.start()
        generation = await engine.generate([5, 6], SAMPLING, "r")
    assert (generation.token_ids, generation.logprobs) == ((7, 8), (-0.5, -0.5))
    assert (generation.stop_reason, generation.cached_tokens) == (StopReason.STOP, 3)
    (_, body), sampling = stand.asked[-1], stand.asked[-1][1]["sampling_params"]
    assert body["token_ids"] == [5, 6]
    assert (sampling["temperature"], sampling["top_p"], sampling["max_tokens"], sampling["seed"]) == (1.0, 0.9, 8, 5)
    assert sampling["stop_token_ids"] == [2]


async def test_an_update_goes_to_every_server_in_order(tmp_path: Path) -> None:
    async with standing(Stand()) as one, standing(Stand()) as two, engine_on(one, two) as engine:
        await engine.start()
        await engine.load_weights(tmp_path, PolicyVersion(4))
        for stand in (one, two):
            assert stand.steps() == READY + PAUSED
            assert stand.asked[-6][1] == {"method": "hiper_stage", "args": [str(tmp_path)]}
        assert (await engine.generate([5], SAMPLING, "r")).version_end == engine.version == 4


async def test_a_model_that_cannot_have_two_sets_of_weights_is_loaded_in_the_pause(tmp_path: Path) -> None:
    workers = {"hiper_stage": "the model is quantised"}
    async with standing(Stand(workers=workers)) as stand, engine_on(stand) as engine:
        await engine.start()
        await engine.load_weights(tmp_path, PolicyVersion(4))
    assert stand.steps() == ["hiper_stage", "/pause", "hiper_reload", "/update_weight_version", "/resume"]


async def test_a_server_without_our_extension_reloads_by_itself(tmp_path: Path) -> None:
    async with standing(Stand()) as stand, engine_on(stand, remote={"reload": "vllm"}) as engine:
        await engine.start()
        await engine.load_weights(tmp_path, PolicyVersion(4))
    assert stand.steps() == ["/pause", "reload_weights", "/update_weight_version", "/resume"]
    assert stand.asked[-3][1]["kwargs"] == {"weights_path": str(tmp_path)}


@pytest.mark.parametrize("broken", ["refuses", "cannot read it"])
async def test_a_version_that_one_server_does_not_get_ready_changes_nothing(tmp_path: Path, broken: str) -> None:
    async with standing(Stand()) as one, standing(Stand()) as two, engine_on(one, two) as engine:
        await engine.start()
        if broken == "refuses":
            two.refuse["hiper_stage"] = [500]
        else:
            two.workers["hiper_staged"] = "SafetensorError: torn"
        told = f"{two.url} answers 500" if broken == "refuses" else "SafetensorError: torn"
        with pytest.raises(RemoteError, match=rf"1 of 2 .*{told}"):
            await engine.load_weights(tmp_path, PolicyVersion(1))
        assert "/pause" not in one.paths() + two.paths()
        assert (await engine.generate([5], SAMPLING, "r")).version_start < 1


async def test_one_server_that_fails_in_the_pause_is_named_and_nothing_is_generated(tmp_path: Path) -> None:
    async with standing(Stand()) as one, standing(Stand()) as two, engine_on(one, two) as engine:
        await engine.start()
        two.refuse["hiper_put_in_force"] = [500]
        with pytest.raises(RequestRefused, match=rf"1 of 2 .* {two.url} answers 500 to /collective_rpc"):
            await engine.load_weights(tmp_path, PolicyVersion(1))
        waiting = asyncio.create_task(engine.generate([5], SAMPLING, "r"))
        await asyncio.sleep(0.05)
        assert "/inference/v1/generate" not in one.paths() + two.paths()
        await engine.load_weights(tmp_path, PolicyVersion(1))
        assert (await waiting).version_start == 1


async def test_a_request_is_asked_again_of_a_server_that_was_away() -> None:
    async with standing(Stand()) as stand, engine_on(stand) as engine:
        await engine.start()
        stand.refuse["/inference/v1/generate"] = [503, 502]
        assert (await engine.generate([5], SAMPLING, "r")).token_ids == (7, 8)
        assert stand.paths().count("/inference/v1/generate") == 3


async def test_a_server_with_older_weights_than_believed_gets_them_and_is_asked_again(tmp_path: Path) -> None:
    async with standing(Stand()) as stand, engine_on(stand) as engine:
        await engine.start()
        await engine.load_weights(tmp_path, PolicyVersion(6))
        stand.label = "default"  # as after a restart
        assert (await engine.generate([5], SAMPLING, "r")).version_start == 6
        assert stand.steps().count("hiper_put_in_force") == 2


async def test_requests_spread_over_the_servers() -> None:
    gate = asyncio.Event()
    async with standing(Stand(hold=gate)) as one, standing(Stand(hold=gate)) as two, engine_on(one, two) as engine:
        await engine.start()
        asked = [asyncio.create_task(engine.generate([5], SAMPLING, f"r{number}")) for number in range(6)]
        while len(one.paths()) + len(two.paths()) < 6:  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.005)
        gate.set()
        await asyncio.gather(*asked)
        assert len(one.paths()) == len(two.paths()) == 3


async def test_a_request_past_its_bound_is_refused() -> None:
    async with standing(Stand(hold=asyncio.Event())) as stand, engine_on(stand, generate_timeout_s=0.1) as engine:
        await engine.start()
        with pytest.raises(RequestRefused, match="no response to r within"):
            await engine.generate([5], SAMPLING, "r")


@pytest.mark.parametrize("broken", [{"token_ids": [7]}, {"token_ids": [1, 2]}, {"token_ids": None}])
async def test_an_answer_that_contradicts_itself_is_refused(broken: dict[str, Any]) -> None:
    async with standing(Stand(**broken)) as stand, engine_on(stand) as engine:
        await engine.start()
        with pytest.raises(RequestRefused, match="request r"):
            await engine.generate([5], SAMPLING, "r")


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (GOOD | {"model_config": {"logprobs_mode": "raw_logprobs"}}, "--logprobs-mode raw_logprobs"),
        (GOOD | {"scheduler_config": {"async_scheduling": True}}, "--async-scheduling True"),
        ({}, "does not tell its settings"),
    ],
)
async def test_a_server_that_would_spoil_the_records_is_refused_at_the_start(
    config: dict[str, Any], named: str
) -> None:
    async with standing(Stand(config=config)) as stand, engine_on(stand) as engine:
        with pytest.raises(EngineDead, match=named):
            await engine.start()


async def test_a_server_that_never_comes_is_named_with_the_bound() -> None:
    async with engine_on(Stand(url="http://127.0.0.1:9")) as engine:
        with pytest.raises(EngineDead, match=r"http://127.0.0.1:9 has been away for 0\.3 s"):
            await engine.start()


async def test_the_api_key_is_sent(tmp_path: Path) -> None:
    token = tmp_path / "token"
    with pytest.raises(ConfigError, match="token file"):
        async with engine_on(Stand(url="http://127.0.0.1:9"), remote={"token_file": str(token)}):
            pass
    token.write_text("secret\n")
    async with standing(Stand()) as stand, engine_on(stand, remote={"token_file": str(token)}) as engine:
        await engine.start()
        await engine.generate([5], SAMPLING, "r")
    assert stand.keys == {"Bearer secret"}


def arguments(**vllm: Any) -> dict[str, Any]:
    return engine_arguments(RunConfig.model_validate({"rollout": {"vllm": vllm}}), on_cpu=False)


def test_arguments_of_vllm_are_passed_on() -> None:
    plain = arguments()
    assert plain["kv_cache_dtype"] == "auto"
    assert "enable_lora" not in plain
    made = arguments(
        kv_cache_dtype="fp8",
        pipeline_parallel=2,
        adapter={"path": "/adapter", "max_rank": 32},
        engine_args={"quantization": "fp8"},
    )
    assert (made["kv_cache_dtype"], made["pipeline_parallel_size"], made["quantization"]) == ("fp8", 2, "fp8")
    assert (made["enable_lora"], made["max_lora_rank"]) == (True, 32)


def _invalid(change: Callable[[], object]) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is what is looked at
        change()
    return str(caught.value)


def test_settings_that_contradict_each_other_are_refused_at_load() -> None:
    assert "logprobs_mode" in _invalid(lambda: arguments(engine_args={"logprobs_mode": "raw_logprobs"}))
    assert "kv_cache_dtype" in _invalid(lambda: arguments(kv_cache_dtype="int3"))
    for rollout in ({"engine": "remote"}, {"remote": {"urls": ["http://h:1"]}}):
        assert "give both or neither" in _invalid(lambda chosen=rollout: RunConfig.model_validate({"rollout": chosen}))  # type: ignore[misc]
