"""The HTTP judge: a reward term that asks somebody else.

Request: POST, JSON `{"term": ..., "options": {...}, "trajectory": {...}}`, the trajectory with the fields of
`hiper.rewards.TrajectoryView`. Answer: 200, JSON `{"rewards": [one number per turn]}`. It is asked again, up to
`retries` times, where that can help: no connection, no answer within `attempt_timeout_s`, 429, 5xx. So it must bear
being asked twice. Redirects are not followed. The token comes from a file or the environment, never from the
configuration, and stands in no message.
"""

import asyncio
import dataclasses
import json
import os
import random
from collections.abc import Callable, Sequence

import httpx

from hiper.config.sections import JudgeSettings, TermSettings
from hiper.errors import ConfigError, RemoteError
from hiper.rewards import TrajectoryView
from hiper.rpc.auth import TokenFile
from hiper.rpc.patience import TryAgain
from services.reward.calls import within

__all__ = ["MAX_ANSWER_BYTES", "HttpJudge"]

MAX_ANSWER_BYTES = 2**20
_FIRST_PAUSE_S = 0.1
_LAST_PAUSE_S = 5.0
_SHOWN_CHARS = 200
"""Of a refusal's body."""


class HttpJudge:
    """One judge. Call it with a trajectory; close it at the end."""

    def __init__(self, name: str, settings: TermSettings, judge: JudgeSettings) -> None:
        """Raises `ConfigError` if its token cannot be read."""
        self._name = name
        self._options = settings.options
        self._timeout_s = settings.timeout_s
        self._settings = judge
        self._peer = f"judge {judge.url.partition('?')[0]}"
        self._authorization = _authorization(name, judge)
        self._slots = asyncio.Semaphore(judge.concurrency)
        # Deadlines are ours: httpx bounds each read, not the whole answer.
        self._client = httpx.AsyncClient(timeout=None, follow_redirects=False)  # noqa: S113

    async def __call__(self, trajectory: TrajectoryView) -> Sequence[float]:
        """Return what the judge answers, within the term's deadline, which starts when it is this trajectory's turn.

        Raises `Overdue`, or `CallFailed` from the `RemoteError` of a refusal or of the last attempt.
        """
        async with self._slots:
            return await within(self._timeout_s, self._persist(trajectory))

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def _persist(self, trajectory: TrajectoryView) -> Sequence[float]:
        request = {"term": self._name, "options": self._options, "trajectory": dataclasses.asdict(trajectory)}
        body = json.dumps(request).encode()
        pause_s = _FIRST_PAUSE_S
        for _ in range(self._settings.retries):
            try:
                return self._rewards(await self._ask(body))
            except TryAgain:
                await asyncio.sleep(pause_s * random.uniform(0.75, 1.25))
                pause_s = min(2 * pause_s, _LAST_PAUSE_S)
        try:
            return self._rewards(await self._ask(body))
        except TryAgain as error:
            raise RemoteError(f"{self._peer}: {1 + self._settings.retries} attempts, the last: {error}") from error

    async def _ask(self, body: bytes) -> bytes:
        bound_s = self._settings.attempt_timeout_s
        headers = {"content-type": "application/json", **self._authorization()}
        try:
            async with (
                asyncio.timeout(bound_s),
                self._client.stream("POST", self._settings.url, content=body, headers=headers) as reply,
            ):
                answer = await self._read(reply)
        except TimeoutError as error:
            raise TryAgain(f"no answer within {bound_s:g} s") from error
        except httpx.HTTPError as error:
            raise TryAgain(f"{type(error).__name__}: {error}") from error
        if reply.status_code == httpx.codes.OK:
            return answer
        text = " ".join(answer.decode(errors="replace").split())[:_SHOWN_CHARS]
        refusal = f"HTTP {reply.status_code} {text}".rstrip()
        if reply.status_code == httpx.codes.TOO_MANY_REQUESTS or reply.is_server_error:
            raise TryAgain(refusal)
        raise RemoteError(f"{self._peer}: {refusal}")

    async def _read(self, reply: httpx.Response) -> bytes:
        answer = bytearray()
        async for chunk in reply.aiter_bytes():
            answer += chunk
            if len(answer) > MAX_ANSWER_BYTES:
                raise RemoteError(f"{self._peer}: its answer is longer than {MAX_ANSWER_BYTES:,} bytes")
        return bytes(answer)

    def _rewards(self, answer: bytes) -> Sequence[float]:
        try:
            rewards = json.loads(answer)["rewards"]
        except (ValueError, KeyError, TypeError) as error:
            raise RemoteError(f"{self._peer}: its answer is not JSON with a list 'rewards'") from error
        if not isinstance(rewards, list):
            raise RemoteError(f"{self._peer}: 'rewards' is not a list")
        return list(rewards)


def _authorization(name: str, judge: JudgeSettings) -> Callable[[], dict[str, str]]:
    """How to make the header of a request; a file is looked at again each time."""
    if judge.token_file is not None:
        file = TokenFile(judge.token_file)
        return lambda: {"authorization": file.header().decode()}
    if judge.token_env is None:
        return dict
    token = os.environ.get(judge.token_env, "").strip()
    if not token:
        raise ConfigError(
            f"reward.terms.{name}: environment variable {judge.token_env} is not set",
            "set it to the judge's token for the reward service, or use judge.token_file",
        )
    return lambda: {"authorization": f"Bearer {token}"}
