"""docker-compose.yml for real: build, come up, train three versions, survive a kill of each container, go down clean.

    python3 scripts/compose_smoke.py [--keep-images]

It needs root, and Docker with Compose (Debian: docker.io docker-compose debootstrap). Where dockerd does not run it is
started, and stopped at the end. Where no registry can be reached, the base image is made by debootstrap, Prometheus
comes from Debian, a script takes Jaeger's part, and Grafana is left out; what pip takes from folders of this machine is
served to the builds over loopback. The standard library is enough.

Exit code 0: everything held; 1: something did not; 3: no container engine can run here.
"""

import argparse
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from containers import (
    OFFLINE_BASE,
    OFFLINE_PROMETHEUS,
    ROOT,
    BrokenError,
    NoEngineError,
    answers,
    engine,
    offline_images,
    package_sources,
    run,
    say,
    wait_until,
)

PROJECT = "hiper-smoke"
OURS = ("--quiet", "--filter", f"label=com.docker.compose.project={PROJECT}")
FILES = ("docker-compose.yml", "tests/compose/smoke.yml")
OFFLINE_FILE = "tests/compose/offline.yml"
TAG = "smoke"
MADE = f"--filter=reference=hiper*:{TAG}"
VERSIONS = 3
STAGES = frozenset({"env_server", "rollout", "reward", "hae", "learner"})
HOSTS = ("env-alfworld", "env-webshop", "rollout", "reward", "hae", "learner", "control")
CONTROL, PROMETHEUS, JAEGER = (f"http://127.0.0.1:{port}" for port in (8090, 9090, 16686))
LIMITS_MB = {"hiper": 300, "hiper-control": 350, "hiper-broker": 300}
"""Largest sizes of images, in 10^6 bytes as `docker images` counts."""
VERSIONS_S, HEALTHY_S = 1800.0, 400.0
KILLED = 128 + signal.SIGKILL
NOT_SERVICES = frozenset({"init", "warmstart", "smoke", "rollout-gpu", "learner-gpu"})


class Compose:
    """The project of this script."""

    def __init__(self, files: Sequence[str], environment: dict[str, str]) -> None:
        tool = ["docker", "compose"] if answers("docker", "compose", "version") else ["docker-compose"]
        files = [word for name in files for word in ("--file", name)]
        self._command = [*tool, *files, "--project-name", PROJECT]
        self._environment = {**os.environ, **environment}

    def __call__(self, *words: str, seconds: float = 120.0, check: bool = True) -> str:
        """Run a Compose command and return what it printed."""
        return run(*self._command, *words, seconds=seconds, check=check, env=self._environment)

    def show(self, *words: str, seconds: float) -> None:
        """Run with its output shown."""
        done = subprocess.run([*self._command, *words], cwd=ROOT, env=self._environment, timeout=seconds, check=False)
        if done.returncode:
            raise BrokenError(f"compose {' '.join(words)}: exit code {done.returncode}")

    def state(self, service: str) -> dict[str, object]:
        """What the engine says of a service's container."""
        return dict(json.loads(run("docker", "inspect", self.container(service)))[0]["State"])

    def container(self, service: str) -> str:
        """Return its id."""
        return self("ps", "--quiet", service).strip()

    def healthy(self, service: str) -> bool:
        """Whether it runs and its health check holds."""
        health = self.state(service).get("Health")
        return isinstance(health, dict) and health["Status"] == "healthy"

    def versions(self, number: int, seconds: float) -> None:
        """Wait for policy versions."""
        self.show("run", "--rm", "-T", "smoke", str(number), str(seconds), seconds=seconds + 60)

    def version(self) -> int:
        """The policy version now."""
        answer = self("run", "--rm", "-T", "smoke", "0", "60")
        return int(re.findall(r"policy version (\d+)", answer)[-1])


def build(compose: Compose) -> None:
    """Build every image, print their sizes, hold them against the limits."""
    started = time.monotonic()
    compose("build", seconds=5400)  # one by one: services that share an image find it made
    say(f"images built in {time.monotonic() - started:.0f} s")
    for line in sorted(run("docker", "images", "--format", "{{.Repository}} {{.Tag}} {{.ID}}").split("\n")):
        name, _, rest = line.partition(" ")
        if not name.startswith("hiper") or name.startswith("hiper-smoke"):
            continue
        megabytes = json.loads(run("docker", "image", "inspect", rest.split()[-1]))[0]["Size"] / 1e6
        say(f"  {name}:{rest.split()[0]:10}{megabytes:8.0f} MB")
        if megabytes > LIMITS_MB.get(name, 1e9):
            raise BrokenError(f"image {name} is larger than {LIMITS_MB[name]} MB")


def kill(compose: Compose, service: str) -> None:
    """Kill a container's first process, as a crash would, and wait until it serves again."""
    before = compose.state(service)
    os.kill(int(str(before["Pid"])), signal.SIGKILL)
    wait_until(f"{service} started again", lambda: compose.state(service)["StartedAt"] != before["StartedAt"], 90)
    took = wait_until(f"{service} healthy again", lambda: compose.healthy(service), HEALTHY_S)
    say(f"  {service}: killed, healthy again after {took:.0f} s")


def asked(url: str, token: str = "") -> Any:
    """GET something; the JSON of the answer."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)
    except OSError as error:
        raise BrokenError(f"{url}: {error}") from error


def targets_up() -> bool:
    """Whether Prometheus scrapes every service."""
    targets = asked(f"{PROMETHEUS}/api/v1/targets?state=active")["data"]["activeTargets"]
    components = {target["labels"]["component"] for target in targets if target["health"] == "up"}
    return components == STAGES | {"control"} and all(target["health"] == "up" for target in targets)


def traced() -> bool:
    """Whether Jaeger shows a trace over every stage."""
    return any(map(connected, asked(f"{JAEGER}/api/traces?service=learner&limit=200")["data"]))


def connected(trace: Mapping[str, Any]) -> bool:
    """Whether a trace leads from its root over every stage to a step of the learner."""
    spans = trace["spans"]
    makers = {trace["processes"][span["processID"]]["serviceName"] for span in spans}
    above = {one["spanID"] for span in spans for one in span["references"] if one["refType"] == "CHILD_OF"}
    whole = above <= {span["spanID"] for span in spans}
    return whole and makers == STAGES and any(span["operationName"] == "learner.step" for span in spans)


def control(compose: Compose, path: str) -> Any:
    """Ask control."""
    token = compose("exec", "-T", "control", "cat", "/etc/hiper/secrets/control").strip()
    return asked(f"{CONTROL}/api/v1/{path}", token)


def ready(compose: Compose) -> dict[str, tuple[int, int]]:
    """In control's eyes, how many containers of each service are ready, and of how many."""
    return {one["service"]: (one["ready"], one["wanted"]) for one in control(compose, "services")}


def scale(compose: Compose) -> None:
    """Start a second rollout."""
    compose("up", "--detach", "--no-deps", "--no-recreate", "--scale", "rollout=2", "rollout", seconds=300)
    took = wait_until("a second rollout", lambda: ready(compose)["rollout"] == (2, 2), HEALTHY_S)
    say(f"a second rollout is ready after {took:.0f} s")


def stop(compose: Compose) -> None:
    """Stop everything; what does not end by itself is killed when its grace is over, and that is a fault."""
    started = time.monotonic()
    compose("stop", seconds=300)
    containers = json.loads(run("docker", "inspect", *run("docker", "ps", "--all", *OURS).split()))
    killed = [container["Name"] for container in containers if container["State"]["ExitCode"] == KILLED]
    if killed:
        raise BrokenError(f"stopped only when killed: {', '.join(killed)}")
    say(f"stopped {time.monotonic() - started:.0f} s later, {len(containers)} containers, none of them killed")


def exercise(compose: Compose, services: Sequence[str]) -> None:
    """Everything the script promises, from `up` to the last `stop`."""
    started = time.monotonic()
    compose("up", "--detach", *services, seconds=1800)
    say(f"up after {time.monotonic() - started:.0f} s")
    for service in services:
        wait_until(f"{service} healthy", functools.partial(compose.healthy, service), HEALTHY_S)
    say(f"healthy {time.monotonic() - started:.0f} s after `up`: {', '.join(services)}")
    compose.versions(VERSIONS, VERSIONS_S)
    say(f"{VERSIONS} policy versions {time.monotonic() - started:.0f} s after `up`")
    wait_until("every target scraped", targets_up, 120)
    wait_until("a trace over every stage", traced, 120)
    wait_until("every service ready in control's eyes", lambda: ready(compose) == dict.fromkeys(HOSTS, (1, 1)), 60)
    say("every target is scraped, a trace leads over every stage, control sees every service")
    for service in services:
        kill(compose, service)
    compose.versions(compose.version() + 2, VERSIONS_S)
    scale(compose)
    compose.versions(compose.version() + 2, VERSIONS_S)
    pipeline = control(compose, "run/pipeline")
    if pipeline["conservation_gap"] or pipeline["dead_letters"]:
        raise BrokenError(f"not every trajectory is accounted for: {pipeline}")
    say(f"the run went on; of {pipeline['published']} trajectories none is lost, doubled or among the dead letters")
    stop(compose)


def settings(sources: dict[str, str]) -> dict[str, str]:
    """Variables of docker-compose.yml: as in .env where a registry answers, else with images made here."""
    chosen = {**sources, "COMPOSE_PROFILES": "cpu,observability", "IMAGE_TAG": TAG}
    base = re.search(r"^BASE_IMAGE=(.*)$", (ROOT / ".env").read_text(), re.MULTILINE)
    if base and answers("timeout", "50", "docker", "pull", "--quiet", base[1]):
        return chosen
    say("no registry answers: base image by debootstrap, Prometheus from Debian, a script as Jaeger, no Grafana")
    offline_images()
    # BuildKit would ask a registry for the base image.
    own = {"BASE_IMAGE": OFFLINE_BASE, "PROMETHEUS_IMAGE": OFFLINE_PROMETHEUS, "DOCKER_BUILDKIT": "0"}
    return {**chosen, **own, "BUILD_NETWORK": "host"}


def smoke(compose: Compose, *, without: frozenset[str], keep_images: bool) -> None:
    """Build, exercise, go down; the last lines of every container where something does not hold."""
    services = [name for name in compose("config", "--services").split() if name not in NOT_SERVICES | without]
    try:
        build(compose)
        exercise(compose, services)
    except (BrokenError, subprocess.TimeoutExpired):
        print(compose("logs", "--tail", "60", check=False))
        raise
    finally:
        compose("down", "--volumes", "--remove-orphans", seconds=300)
        # Compose's own --rmi takes all of them, pulled ones too, or none that has a name.
        if not keep_images and (made := run("docker", "images", "--format", "{{.Repository}}:{{.Tag}}", MADE).split()):
            run("docker", "image", "rm", *made, seconds=600)
    for things in (("ps", "--all"), ("volume", "ls"), ("network", "ls")):
        if left := run("docker", *things, *OURS).split():
            raise BrokenError(f"docker {' '.join(things)}: {', '.join(left)} left")
    say("down, no container, volume or network left")


def main() -> int:
    """Run and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep-images", action="store_true", help="leave the images for the next time")
    keep_images = parser.parse_args().keep_images
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # whatever ends it, it goes down clean
    try:
        with engine(), package_sources() as sources:
            chosen = settings(sources)
            offline = "BUILD_NETWORK" in chosen
            compose = Compose((*FILES, OFFLINE_FILE) if offline else FILES, chosen)
            smoke(compose, without=frozenset({"grafana"} if offline else ()), keep_images=keep_images)
    except NoEngineError as error:
        print(f"compose_smoke: no container engine can run here: {error}", file=sys.stderr)
        return 3
    except (BrokenError, subprocess.TimeoutExpired) as error:
        print(f"compose_smoke: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
