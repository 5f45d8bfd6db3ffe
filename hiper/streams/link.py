"""The connections to one broker, and the loop that outlives its absences.

Two pools: one for short commands, one for blocking reads, so that a read that waits never holds up a hand-off.
redis-py's own retries are off: a timeout on a write means "unknown", and only this loop knows that the step is safe to
repeat.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

from redis import exceptions as redis_errors
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from hiper import logs
from hiper.config.sections import BrokerSettings
from hiper.errors import BrokerError, ConfigError
from hiper.metrics import counter, gauge
from hiper.streams.errors import BrokerFull

__all__ = ["Argument", "Link"]

T = TypeVar("T")
Argument = str | bytes | int | float

_FIRST_DELAY_S = 0.05
_LONGEST_DELAY_S = 2.0
_AWAY = (
    redis_errors.ConnectionError,  # LOADING is one of these
    redis_errors.TimeoutError,
    redis_errors.ReadOnlyError,
    redis_errors.TryAgainError,
    redis_errors.ClusterDownError,
    OSError,
)
_REFUSED = (redis_errors.AuthenticationError, redis_errors.AuthorizationError, redis_errors.NoPermissionError)


class Link:
    """Connections to one broker."""

    def __init__(
        self,
        settings: BrokerSettings,
        client_name: str,
        client: Callable[[str, BrokerSettings, str], Redis] | None = None,
    ) -> None:
        """Make the pools; nothing is connected yet. Raises BrokerError on a missing or malformed URL, and ConfigError
        if the password's file cannot be read.

        `client` makes a pool from URL, settings and name; None: of connections to a server.
        """
        make = client or _client
        if settings.url is None:
            raise BrokerError(
                "there is no broker address", hint="set broker.url or HIPER_BROKER__URL, or use `hiper up`"
            )
        url = settings.url.get_secret_value()
        self.address = without_secrets(url)
        self._bound_s = settings.unavailable_timeout_s
        self._log = logs.get(broker=self.address)
        try:
            self.client = make(url, settings, client_name)
            self._blocking = make(url, settings, client_name)
        except ValueError as error:
            raise BrokerError(
                f"{self.address} is not a broker address: {error}",
                hint="write redis://:PASSWORD@HOST:PORT, rediss://... or unix:///PATH",
            ) from error

    async def command(self, *words: Argument, blocking: bool = False) -> Any:
        """Send one command, once."""
        client = self._blocking if blocking else self.client
        with _cancellation_heeded():
            return await client.execute_command(*words)  # type: ignore[no-untyped-call]

    async def persist(
        self,
        what: str,
        attempt: Callable[[], Awaitable[T]],
        *,
        on_return: Callable[[], Awaitable[None]] | None = None,
        raise_full: bool = False,
    ) -> T:
        """Repeat `attempt`, which must be safe to repeat, until the broker answers; `on_return` runs before each
        repeat.

        Raises BrokerError after `unavailable_timeout_s`, or at once if the broker refuses the credentials; BrokerFull
        at once if memory or disk is full and `raise_full` is set, otherwise that is waited for too. Other error replies
        pass.
        """
        give_up = time.monotonic() + self._bound_s
        delay, absences = _FIRST_DELAY_S, 0
        while True:
            try:
                if absences and on_return:
                    await on_return()
                answer = await attempt()
            except _REFUSED as error:
                raise BrokerError(
                    f"{self.address} refused {what}: {error}", hint="check the broker's user, password and ACL"
                ) from error
            except redis_errors.InvalidResponse as error:
                raise BrokerError(f"{self.address} does not speak the Redis protocol: {error}") from error
            except (*_AWAY, redis_errors.ResponseError) as error:
                if raise_full and _is_full(error):
                    raise BrokerFull(
                        f"{self.address} is full: {error}", hint="it drains as batches are applied"
                    ) from error
                if not isinstance(error, _AWAY) and not _is_full(error):
                    raise
                if time.monotonic() + delay > give_up:
                    raise self._gave_up(what, error) from error
                absences += 1
                if absences == 1:
                    self._log.warning("broker away, repeating", what=what, error=str(error) or type(error).__name__)
                    gauge("up_dependencies").labels(dependency="broker").set(0)
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))
                delay = min(2 * delay, _LONGEST_DELAY_S)
            else:
                if absences:
                    self._log.info("broker back", what=what, attempts=absences + 1)
                    counter("broker_reconnects_total").inc()
                gauge("up_dependencies").labels(dependency="broker").set(1)
                return answer

    async def close(self) -> None:
        """Close every connection."""
        await self.client.aclose()
        await self._blocking.aclose()

    def _gave_up(self, what: str, error: Exception) -> BrokerError:
        state = "stayed full" if _is_full(error) else "did not answer"
        return BrokerError(
            f"{self.address} {state} for {self._bound_s:g} s ({what}): {str(error) or type(error).__name__}",
            hint="start the broker, or raise broker.unavailable_timeout_s",
        )


@contextmanager
def _cancellation_heeded() -> Iterator[None]:
    """Raise a cancellation that was swallowed inside.

    redis-py sends with `asyncio.wait_for`, which up to Python 3.11 loses a cancellation that arrives as the send ends.
    """
    task = asyncio.current_task()
    requests = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > requests:
            raise asyncio.CancelledError


def without_secrets(url: str) -> str:
    """`redis://user:secret@host:1/0` -> `redis://host:1/0`."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _client(url: str, settings: BrokerSettings, client_name: str) -> Redis:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=32,
        timeout=settings.socket_timeout_s,
        protocol=2,
        password=_password(settings),  # one in the URL wins
        retry=Retry(NoBackoff(), 0),
        socket_timeout=settings.socket_timeout_s,
        socket_connect_timeout=settings.connect_timeout_s,
        socket_keepalive=True,
        health_check_interval=15,
        client_name=client_name.replace(" ", "-"),
    )
    return Redis.from_pool(pool)


def _password(settings: BrokerSettings) -> str | None:
    path = settings.password_file
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(
            f"broker.password_file: cannot read {path}: {error.strerror}", "mount the secret, or leave the setting out"
        ) from error


def _is_full(error: Exception) -> bool:
    return isinstance(error, redis_errors.OutOfMemoryError) or str(error).startswith(("OOM", "MISCONF"))
