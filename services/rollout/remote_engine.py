"""The engine on vLLM servers of one's own: the contract of `services.rollout.engine` over HTTP.

An update goes to every server, and nothing is generated until it has succeeded on all. A server that was started again
comes back with the weights it was started on: its first answer shows that by its label, is thrown away, and the server
gets the version in force before the request is repeated. The servers must see the checkpoint under the same path as
this process does.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from hiper.config import RunConfig
from hiper.errors import HiperError, RemoteError
from hiper.metrics import histogram
from hiper.vocabulary import PolicyVersion, StopReason
from services.rollout.checkpoints import Shapes, check_fits, tensor_shapes
from services.rollout.engine import NOT_LOADED, Generation, RequestRefused, Sampling, labelled_version
from services.rollout.vllm_server import Away, VllmServer
from services.rollout.vllm_start import stop_token_ids

__all__ = ["RemoteEngine"]

T = TypeVar("T")

_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 5.0


class RemoteEngine:
    """See `services.rollout.engine.Engine`. Call `start` once before anything else."""

    def __init__(self, config: RunConfig) -> None:
        remote = config.rollout.remote
        self._config = config
        self._timeout_s = config.rollout.generate_timeout_s
        self._servers = [VllmServer(url, remote) for url in remote.urls]
        self._version = NOT_LOADED
        self._directory: Path | None = None
        """Of the version in force."""
        self._shapes: Shapes = {}
        self._stop_token_ids: list[int] = []
        self._open = asyncio.Event()
        """Cleared while an update has begun and not succeeded."""
        self._updating = asyncio.Lock()
        self.last_pause_s = 0.0
        """How long the last update kept the servers from generating."""

    async def start(self) -> None:
        """Wait for every server. Raises `EngineDead` for one that does not come or is not set up for exact records."""
        self._stop_token_ids = await asyncio.to_thread(stop_token_ids, self._config.model)
        self._shapes = tensor_shapes(Path(self._config.model.path))
        await asyncio.gather(*(server.wait() for server in self._servers))
        self._open.set()

    @property
    def version(self) -> PolicyVersion:
        """See `Engine.version`."""
        return self._version

    async def generate(self, prompt_ids: list[int], sampling: Sampling, request_id: str) -> Generation:
        """See `Engine.generate`. Asks again while a server is away. Raises `RequestRefused` at the bound."""
        pause_s, attempt, last = _FIRST_PAUSE_S, 0, ""
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    await self._open.wait()
                    server, started_on = self._choose(), self._version
                    body = self._body(prompt_ids, sampling, f"{request_id}/{attempt}")
                    attempt += 1
                    try:
                        generation = _record(request_id, await server.generate(body), started_on)
                        if generation.version_start >= started_on:
                            return generation
                        last = f"{server.url} was started again"
                        await self._bring_back(server)
                    except Away as error:
                        last = str(error)
                        await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))
                        pause_s = min(2 * pause_s, _LAST_PAUSE_S)
        except TimeoutError as error:
            await self.check()
            raise RequestRefused(
                f"no response to {request_id} within {self._timeout_s:g} s (rollout.generate_timeout_s)"
                + (f", at last: {last}" if last else ""),
                "add servers, lower rollout.concurrent_episodes or raise the bound",
            ) from error

    async def load_weights(self, directory: Path, version: PolicyVersion) -> None:
        """See `Engine.load_weights`. A failure names every server that failed.

        Raises `RemoteError` or `IntegrityError` while nothing has changed yet, `RequestRefused` after that.
        """
        self._shapes = await asyncio.to_thread(check_fits, directory, self._shapes)
        async with self._updating:
            calls = await self._on_all(RemoteError, version, lambda server: server.make_ready(directory))
            self._open.clear()
            started = time.monotonic()
            await self._on_all(RequestRefused, version, lambda server: server.put_in_force(calls[server], version))
            self._version, self._directory = version, directory
            self._open.set()
            self.last_pause_s = time.monotonic() - started
            histogram("weights_load_duration_seconds").labels(phase="pause").observe(self.last_pause_s)

    async def check(self) -> None:
        """See `Engine.check`: a server may be away for `rollout.remote.unavailable_timeout_s`."""
        await asyncio.gather(*(server.check() for server in self._servers))

    async def close(self) -> None:
        """Close the connections; the servers go on."""
        await asyncio.gather(*(server.close() for server in self._servers))

    def _choose(self) -> VllmServer:
        """The server with the fewest requests of those that answered last time, else of all."""
        return min(self._servers, key=lambda server: (server.is_away, server.in_flight, random.random()))

    def _body(self, prompt_ids: list[int], sampling: Sampling, request_id: str) -> dict[str, Any]:
        return {
            "request_id": request_id,
            "token_ids": prompt_ids,
            "cache_salt": f"version {self._version}",
            "sampling_params": {
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "max_tokens": sampling.max_tokens,
                "seed": sampling.seed,
                "stop_token_ids": self._stop_token_ids,
                "logprobs": 0,
                "detokenize": False,
            },
        }

    async def _bring_back(self, server: VllmServer) -> None:
        """Give a server the version in force, unless an update that goes on does so."""
        async with self._updating:
            if self._directory is not None and self._open.is_set():
                try:
                    await server.put_in_force(await server.make_ready(self._directory), self._version)
                except TimeoutError as error:
                    raise RequestRefused(_why(server, error)) from error

    async def _on_all(
        self, failure: type[HiperError], version: PolicyVersion, step: Callable[[VllmServer], Awaitable[T]]
    ) -> dict[VllmServer, T]:
        """Take one step of an update on every server. Raises `failure`, which names each server that failed."""
        done: dict[VllmServer, T] = {}
        failed: list[str] = []

        async def on(server: VllmServer) -> None:
            try:
                done[server] = await step(server)
            except (Away, HiperError, TimeoutError) as error:
                failed.append(_why(server, error))

        await asyncio.gather(*map(on, self._servers))
        if failed:
            raise failure(
                f"{len(failed)} of {len(self._servers)} vLLM servers did not load version {version}: "
                + "; ".join(failed)
            )
        return done


def _why(server: VllmServer, error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"{server.url} did not load it in time (rollout.remote.update_timeout_s)"
    return str(error)


def _record(request_id: str, answer: dict[str, Any], started_on: PolicyVersion) -> Generation:
    """Make a record of vLLM's answer. Raises `RequestRefused` for one that is no response or lacks something."""
    try:
        (choice,) = answer["choices"]
        ids = tuple(int(token) for token in choice["token_ids"])
        entries = choice["logprobs"]["content"]
        logprobs = tuple(float(entry["logprob"]) for entry in entries)
        stop = StopReason(choice["finish_reason"])
        versions = [labelled_version(str(span["version"])) for span in choice.get("weight_versions") or ()]
        details = (answer.get("usage") or {}).get("prompt_tokens_details") or {}
        cached = int(details.get("cached_tokens") or 0)
    except (LookupError, TypeError, ValueError) as error:
        raise RequestRefused(
            f"request {request_id} was answered without a response ({type(error).__name__}: {error})"
        ) from error
    if [int(entry["token_id"]) for entry in entries] != list(ids):
        raise RequestRefused(f"request {request_id}: the log-probabilities are of other tokens than the response")
    made_by = versions or [started_on]
    return Generation(ids, logprobs, stop, made_by[0], made_by[-1], cached)
