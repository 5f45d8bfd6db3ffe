"""One `vllm serve` of somebody else's: the few of its routes a rollout uses, each with a bound and a named failure.

Tokens go in and out by `/inference/v1/generate`; weights by the development routes (`VLLM_SERVER_DEV_MODE=1`): pause,
`collective_rpc`, label, resume. vLLM's API key does not cover those, so the server belongs on a private network.
"""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx

from hiper.config.engines import RemoteSettings
from hiper.rpc.auth import TokenFile
from services.rollout.engine import EngineDead, RequestRefused
from services.rollout.vllm_update import InForce, make_ready

__all__ = ["Away", "VllmServer"]

_SHOWN_CHARS = 300
_GONE = (httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT)
_HOW = "start it as services/rollout/README.md says"


class Away(Exception):  # noqa: N818 - not a failure yet: another server, or a later attempt, may do
    """The server does not answer."""


class VllmServer:
    """The server at `url`."""

    def __init__(self, url: str, settings: RemoteSettings) -> None:
        self.url = url.rstrip("/")
        self.in_flight = 0
        self._settings = settings
        self._token = TokenFile(settings.token_file) if settings.token_file is not None else None
        self._away_since: float | None = None
        # Whoever asks has a deadline of their own: httpx bounds each read, not the whole answer.
        timeout = httpx.Timeout(None, connect=settings.connect_timeout_s)
        self._client = httpx.AsyncClient(timeout=timeout, limits=httpx.Limits(max_connections=None))

    @property
    def is_away(self) -> bool:
        """Whether the last attempt found nobody."""
        return self._away_since is not None

    async def generate(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer one request. Raises `Away` or `RequestRefused`. The caller bounds the time."""
        self.in_flight += 1
        try:
            answer = await self._ask("POST", "/inference/v1/generate", body)
        finally:
            self.in_flight -= 1
        return dict(answer)

    async def make_ready(self, directory: Path) -> InForce:
        """Let it load a checkpoint beside the weights in force, if it can. Raises `Away`, `RequestRefused`.

        Also `IntegrityError`, and `TimeoutError` after `rollout.remote.update_timeout_s`; all of it goes on as it was.
        """
        if self._settings.reload == "vllm":
            return InForce("reload_weights", (str(directory),))
        async with asyncio.timeout(self._settings.update_timeout_s):
            return await make_ready(self._workers, directory)

    async def put_in_force(self, call: InForce, version: int) -> None:
        """End an update, every request kept. Raises `Away`, `RequestRefused`, `TimeoutError`."""
        arguments = (
            {"kwargs": {"weights_path": call.args[0]}} if call.method == "reload_weights" else {"args": call.args}
        )
        async with asyncio.timeout(self._settings.update_timeout_s):
            await self._ask("POST", "/pause?mode=keep")
            await self._ask("POST", "/collective_rpc", {"method": call.method, **arguments})
            await self._ask("POST", "/update_weight_version", {"new_version": str(version)})
            await self._ask("POST", "/resume")

    async def check(self) -> None:
        """Look whether it is there. Raises `EngineDead` once it has been away for `unavailable_timeout_s`."""
        bound_s = self._settings.unavailable_timeout_s
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                await self._ask("GET", "/health")
        except (Away, TimeoutError, RequestRefused) as error:
            self._away_since = self._away_since or time.monotonic()
            if time.monotonic() - self._away_since > bound_s:
                raise EngineDead(
                    f"the vLLM server {self.url} has been away for {bound_s:g} s: {str(error) or 'no answer'}",
                    "see to it; rollout.remote.unavailable_timeout_s is the bound",
                ) from error

    async def wait(self) -> None:
        """Wait until it is there, then hold its settings against what records need. Raises `EngineDead`."""
        while True:
            await self.check()
            if not self.is_away:
                break
            await asyncio.sleep(min(1.0, self._settings.unavailable_timeout_s / 4))
        async with asyncio.timeout(self._settings.update_timeout_s):
            try:
                config = (await self._ask("GET", "/server_info?config_format=json"))["vllm_config"]
                found = {
                    "--logprobs-mode": config["model_config"]["logprobs_mode"],
                    "--async-scheduling": config["scheduler_config"]["async_scheduling"],
                }
            except (RequestRefused, Away, LookupError, TypeError) as error:
                raise EngineDead(
                    f"the vLLM server {self.url} does not tell its settings: {error}", f"VLLM_SERVER_DEV_MODE=1: {_HOW}"
                ) from error
        wanted = {"--logprobs-mode": "processed_logprobs", "--async-scheduling": False}
        for name, value in wanted.items():
            if found[name] != value:
                raise EngineDead(f"the vLLM server {self.url} runs with {name} {found[name]}, not {value}", _HOW)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def _workers(self, method: str, *args: str) -> list[object]:
        answer = await self._ask("POST", "/collective_rpc", {"method": method, "args": args})
        try:
            return list(answer["results"])
        except (LookupError, TypeError) as error:
            raise RequestRefused(f"the vLLM server {self.url} does not tell what {method} returned") from error

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"authorization": self._token.header().decode()} if self._token else {}
        try:
            reply = await self._client.request(method, self.url + path, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise self._gone(str(error) or type(error).__name__) from error
        if reply.status_code in _GONE:
            raise self._gone(f"{reply.status_code} {reply.reason_phrase}")
        self._away_since = None
        if not reply.is_success:
            text = " ".join(reply.text.split())[:_SHOWN_CHARS]
            raise RequestRefused(f"the vLLM server {self.url} answers {reply.status_code} to {path}: {text}")
        try:
            return reply.json() if reply.content else {}
        except json.JSONDecodeError as error:
            raise RequestRefused(f"the vLLM server {self.url} answers {path} with something else than JSON") from error

    def _gone(self, why: str) -> Away:
        self._away_since = self._away_since or time.monotonic()
        return Away(f"{self.url}: {why}")
