"""Questions to processes: HTTP on loopback, and the broker's PING. Every one is bounded, none raises."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable

__all__ = ["Answer", "Probe", "broker_answers", "http_get", "ready_probe", "waiting_for"]

Probe = Callable[[], Awaitable[bool]]
Answer = tuple[int, bytes]
"""HTTP status (0 = no answer) and body."""

_LIMIT = 4 * 2**20


async def http_get(address: str, path: str, timeout_s: float = 2.0) -> Answer:
    """GET `http://<address><path>`; (0, b"") if there is no answer in time."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), limit=_LIMIT)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
                await writer.drain()
                reply = await reader.read(-1)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, ValueError):
        return 0, b""
    head, _, body = reply.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    return (int(words[1]), body) if len(words) > 1 and words[1].isdigit() else (0, b"")


def ready_probe(address: str, path: str) -> Probe:
    """Return a probe that holds while `path` answers 200."""

    async def ready() -> bool:
        status, _ = await http_get(address, path)
        return status == 200

    return ready


async def waiting_for(address: str, path: str) -> str:
    """Say in words which readiness checks do not hold, e.g. `broker: connecting`."""
    status, body = await http_get(address, path)
    if status == 0:
        return "no answer over HTTP"
    try:
        checks = json.loads(body)["checks"]
        return "; ".join(f"{name}: {check['detail'] or 'no'}" for name, check in checks.items() if not check["ok"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"HTTP status {status}"


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
