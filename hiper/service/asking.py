"""What a process answers over HTTP at `/readyz` and the like. Every question is bounded, none raises."""

import asyncio
import contextlib
import json

__all__ = ["Answer", "http_get", "waiting_for", "why_not_ready"]

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


async def waiting_for(address: str, path: str) -> str:
    """Ask `path` and say in words which readiness checks do not hold, e.g. `broker: connecting`."""
    return why_not_ready(await http_get(address, path))


def why_not_ready(answer: Answer) -> str:
    """Say what an answer of `/readyz` tells in words."""
    status, body = answer
    if status == 0:
        return "no answer over HTTP"
    try:
        checks = json.loads(body)["checks"]
        return "; ".join(f"{name}: {check['detail'] or 'no'}" for name, check in checks.items() if not check["ok"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"HTTP status {status}"
