"""Questions to processes: are they ready, does the broker answer PING. Every one is bounded, none raises."""

from collections.abc import Awaitable, Callable

from hiper.service.asking import http_get

__all__ = ["Probe", "broker_answers", "ready_probe"]

Probe = Callable[[], Awaitable[bool]]


def ready_probe(address: str, path: str) -> Probe:
    """Return a probe that holds while `path` answers 200."""

    async def ready() -> bool:
        status, _ = await http_get(address, path)
        return status == 200

    return ready


async def broker_answers(url: str, timeout_s: float = 2.0) -> bool:
    """Whether the server at `url` answers PING, not still loading its data."""
    import redis.asyncio  # not at import time: only supervisors of a broker need it
    from redis.exceptions import RedisError

    client = redis.asyncio.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
    try:
        return bool(await client.ping())
    except (RedisError, OSError, ValueError):
        return False
    finally:
        await client.aclose()
