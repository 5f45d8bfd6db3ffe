"""A container engine, a base image and package sources for builds, on a machine that may reach no registry.

The standard library is enough. See scripts/compose_smoke.py.
"""

import contextlib
import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = [
    "OFFLINE_BASE",
    "OFFLINE_PROMETHEUS",
    "ROOT",
    "BrokenError",
    "NoEngineError",
    "answers",
    "engine",
    "offline_images",
    "package_sources",
    "run",
    "say",
    "wait_until",
]

ROOT = Path(__file__).resolve().parent.parent
OFFLINE_BASE = "hiper-offline-base:bookworm"
OFFLINE_PROMETHEUS = "hiper-offline-prometheus:bookworm"
PACKAGES_PORT = 8799
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
PROMETHEUS = f"""FROM {OFFLINE_BASE}
RUN apt-get update -qq && apt-get install -qq --yes --no-install-recommends prometheus && rm -rf /etc/prometheus \\
 && install -d -o 65534 -g 65534 /prometheus /etc/prometheus
ENTRYPOINT ["prometheus"]
"""


class BrokenError(Exception):
    """Something the script asks for does not hold."""


class NoEngineError(Exception):
    """No container engine can run here."""


def say(text: str) -> None:
    """Print a line with the time."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def run(*command: str, seconds: float = 60.0, check: bool = True, **options: object) -> str:
    """Run a command in the repository and return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, cwd=ROOT, **options)  # type: ignore[call-overload]
    if check and done.returncode:
        raise BrokenError(
            f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
    return str(done.stdout)


def wait_until(what: str, holds: Callable[[], bool], seconds: float) -> float:
    """Return after how many seconds `holds` did."""
    started = time.monotonic()
    while not holds():
        if time.monotonic() - started > seconds:
            raise BrokenError(f"{what}: not within {seconds:g} s")
        time.sleep(0.5)
    return time.monotonic() - started


def answers(*command: str) -> bool:
    """Whether a command ends with 0."""
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


@contextlib.contextmanager
def engine() -> Iterator[None]:
    """A Docker engine: the one that runs, or one of our own."""
    for program in ("docker", "docker-compose"):
        if shutil.which(program) is None and not (
            program == "docker-compose" and answers("docker", "compose", "version")
        ):
            raise NoEngineError(
                f"{program} is not installed; on Debian: apt-get install docker.io docker-compose debootstrap"
            )
    if os.geteuid() != 0:
        raise NoEngineError("killing processes of containers needs root")
    if answers("docker", "info"):
        yield
        return
    if shutil.which("dockerd") is None:
        raise NoEngineError("no Docker engine answers, and dockerd is not installed")
    with tempfile.TemporaryFile() as log, subprocess.Popen(["dockerd"], stdout=log, stderr=log) as daemon:
        try:
            wait_until("dockerd", lambda: answers("docker", "info") or daemon.poll() is not None, 60)
            if daemon.poll() is not None:
                log.seek(0)
                raise NoEngineError(f"dockerd cannot run here: {log.read().decode(errors='replace')[-600:]}")
            yield
        finally:
            daemon.terminate()
            daemon.wait(timeout=60)


def offline_images() -> None:
    """Make the base image, and Prometheus on top of it."""
    if not answers("docker", "image", "inspect", OFFLINE_BASE):
        _debootstrap()
    if not answers("docker", "image", "inspect", OFFLINE_PROMETHEUS):
        build = ("docker", "build", "--network", "host", "--tag", OFFLINE_PROMETHEUS, "-")
        run(*build, input=PROMETHEUS, env={**os.environ, "DOCKER_BUILDKIT": "0"}, seconds=900)


def _debootstrap() -> None:
    """Import a minimal Debian with Python as an image."""
    if shutil.which("debootstrap") is None:
        raise NoEngineError("no registry can be reached, and debootstrap is not installed")
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        packages = "--include=ca-certificates,python3,python3-venv"
        run("debootstrap", "--variant=minbase", packages, "bookworm", str(tree), seconds=900)
        for waste in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
            shutil.rmtree(tree / waste)
            (tree / waste).mkdir()
        # An authority this machine trusts is trusted in the builds.
        shutil.copyfile(CA_BUNDLE, tree / CA_BUNDLE.relative_to("/"))
        with subprocess.Popen(["tar", "--create", "--directory", str(tree), "."], stdout=subprocess.PIPE) as archive:
            run("docker", "import", "-", OFFLINE_BASE, seconds=300, stdin=archive.stdout)


@contextlib.contextmanager
def package_sources() -> Iterator[dict[str, str]]:
    """What pip is told on this machine, as variables; folders are served over loopback."""
    listed = run(sys.executable, "-m", "pip", "config", "list")
    told = dict(re.findall(r"^[^.]*\.([a-z-]+)='(.*)'$", listed, re.MULTILINE))
    with tempfile.TemporaryDirectory() as folder:
        handler = functools.partial(_Quiet, directory=folder)
        # A port of its own: with another one every time, no layer of an earlier build would be found again.
        with _listening(handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()

            def served(source: str) -> str:
                path = Path(source.removeprefix("file://"))
                if "://" in source and not source.startswith("file://"):
                    return source
                # Pages of an index name files beside it: what is served is the folder at the top.
                top, name = Path(*path.parts[:3]), "-".join(path.parts[1:3])
                with contextlib.suppress(FileExistsError):
                    (Path(folder) / name).symlink_to(top)
                return f"http://127.0.0.1:{server.server_port}/{name}/{path.relative_to(top)}".rstrip("/.") + "/"

            sources = {
                f"PIP_{key.upper().replace('-', '_')}": " ".join(map(served, told[key].split()))
                for key in ("index-url", "extra-index-url", "find-links")
                if key in told
            }
            if CA_BUNDLE.exists():
                sources["PIP_CERT"] = str(CA_BUNDLE)
            try:
                yield sources
            finally:
                server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_message: object) -> None:
        """Say nothing: a build asks hundreds of times."""


def _listening(handler: Callable[..., _Quiet]) -> http.server.ThreadingHTTPServer:
    try:
        return http.server.ThreadingHTTPServer(("127.0.0.1", PACKAGES_PORT), handler)
    except OSError as error:
        raise BrokenError(f"cannot serve packages on 127.0.0.1:{PACKAGES_PORT}: {error.strerror}") from error
