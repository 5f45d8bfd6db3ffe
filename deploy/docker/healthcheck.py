"""Health check of every image: exit code 0 if what runs here can serve.

    healthcheck.py http 8080                     GET /readyz
    healthcheck.py broker 6379 USER PASSWORD_FILE   AUTH and PING: not while the server loads its data

It imports next to nothing: every container starts it every few seconds.
"""

import socket
import sys
from pathlib import Path

TIMEOUT_S = 2.5


def answer(port: int, question: str) -> str:
    """Send `question` to this container and return everything that comes until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
        connection.sendall(question.encode())
        reply = b""
        while received := connection.recv(4096):
            reply += received
        return reply.decode(errors="replace")


def http(port: str) -> str | None:
    """Return None if the service is ready, else what it answered."""
    reply = answer(int(port), "GET /readyz HTTP/1.0\r\n\r\n")
    return None if " 200 " in reply.split("\r\n", 1)[0] else reply or "no answer"


def broker(port: str, user: str, password_file: str) -> str | None:
    """Return None if the broker answers its user."""
    password = Path(password_file).read_text(encoding="utf-8").strip()
    reply = answer(int(port), f"AUTH {user} {password}\r\nPING\r\nQUIT\r\n")
    return None if "+PONG" in reply else reply or "no answer"


if __name__ == "__main__":
    try:
        sys.exit({"http": http, "broker": broker}[sys.argv[1]](*sys.argv[2:]))
    except OSError as error:
        sys.exit(str(error))
