"""Wait until the learner has made a number of policy versions: wait_for_versions.py VERSIONS [SECONDS]

Runs inside the network of docker-compose.yml, with the standard library alone. Exit code 1 if they do not come in time.
"""

import http.client
import re
import sys
import time

LEARNER = ("learner", 8080)
VERSION = re.compile(r"^hiper_learner_policy_version(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


def policy_version() -> int | None:
    """What the learner's metrics say, or None while it does not answer."""
    connection = http.client.HTTPConnection(*LEARNER, timeout=5)
    try:
        connection.request("GET", "/metrics")
        found = VERSION.search(connection.getresponse().read().decode())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return int(float(found[1])) if found else None


def wait(versions: int, seconds: float) -> int:
    """Return the exit code."""
    started, seen = time.monotonic(), -1
    while time.monotonic() - started < seconds:
        now = policy_version()
        if now is not None and now != seen:
            seen = now
            sys.stdout.write(f"policy version {seen} after {time.monotonic() - started:.0f} s\n")
            sys.stdout.flush()
        if seen >= versions:
            return 0
        time.sleep(1)
    sys.stderr.write(f"policy version {seen} after {seconds:g} s, {versions} were expected\n")
    return 1


if __name__ == "__main__":
    sys.exit(wait(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 1200.0))
