"""The chart through the real Helm engine, and questions about what came out."""

import copy
import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

try:
    import helm_python as helm
except ImportError as error:  # the wheel exists for Linux and macOS only
    import pytest

    pytest.skip(f"the Helm engine is not installed: {error}", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "deploy/helm"
PRESETS = sorted([*CHART.glob("presets/*.yaml"), *CHART.glob("ci/*.yaml")])
EVERY = {"defaults": {}, **{path.stem: helm.values_from_yaml(path.read_text()) for path in PRESETS}}
"""Every set of values that is shipped or tested as a whole, by name."""
RELEASE, NAMESPACE = "demo", "ml"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Tree = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """A pod or a template of pods."""

    owner: str
    kind: str
    metadata: Tree
    spec: Tree

    @property
    def component(self) -> str:
        return str(self.metadata["labels"]["app.kubernetes.io/component"])

    @property
    def main(self) -> Tree:
        return self.spec["containers"][0]

    @property
    def containers(self) -> list[Tree]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def variables(self) -> Tree:
        """Variables of the main container; one that is read from elsewhere is a dict."""
        return {item["name"]: item.get("value", item.get("valueFrom")) for item in self.main.get("env", [])}

    @property
    def mounts(self) -> dict[str, Tree]:
        return {mount["mountPath"]: mount for mount in self.main["volumeMounts"]}

    def volume(self, name: str) -> Tree:
        return next(volume for volume in self.spec["volumes"] if volume["name"] == name)


@dataclass(frozen=True)
class Rendered:
    """One render of the chart."""

    objects: tuple[Tree, ...]
    notes: str

    def find(self, kind: str, component: str | None = None) -> Tree:
        """The one object of `kind` of `component`."""
        found = [item for item in self.of(kind) if component is None or component_of(item) == component]
        assert len(found) == 1, f"{len(found)} objects {kind} {component}"
        return found[0]

    def of(self, kind: str) -> list[Tree]:
        return [item for item in self.objects if item["kind"] == kind]

    def names(self, kind: str) -> list[str]:
        return sorted(item["metadata"]["name"] for item in self.of(kind))

    def components(self, kind: str) -> set[str]:
        return {component_of(item) for item in self.of(kind)}

    @property
    def pods(self) -> Iterator[Pod]:
        for item in self.objects:
            if item["kind"] == "Pod":
                yield Pod(item["metadata"]["name"], "Pod", item["metadata"], item["spec"])
            elif item["kind"] in ("Deployment", "StatefulSet", "Job"):
                template = item["spec"]["template"]
                yield Pod(item["metadata"]["name"], item["kind"], template["metadata"], template["spec"])

    def pod(self, component: str) -> Pod:
        return next(pod for pod in self.pods if pod.component == component)

    @property
    def config(self) -> Tree:
        """The run file."""
        return yaml.safe_load(self.find("ConfigMap", "config")["data"]["run.yaml"])


def component_of(item: Tree) -> str:
    return str(item["metadata"]["labels"].get("app.kubernetes.io/component", ""))


@functools.cache
def chart() -> "helm.Chart":
    return helm.Chart.load(CHART)


@functools.cache
def _render(values: str, release: str, namespace: str) -> Rendered:
    texts = chart().render(json.loads(values), name=release, namespace=namespace)
    objects = (item for path, text in sorted(texts.items()) if path.endswith(".yaml") for item in _objects(text))
    notes = next(text for path, text in texts.items() if path.endswith("NOTES.txt"))
    return Rendered(tuple(objects), notes)


@functools.cache
def _objects(manifest: str) -> tuple[Tree, ...]:
    """Most values change few of the manifests, and parsing takes as long as rendering."""
    return tuple(item for item in yaml.load_all(manifest, _LOADER) if item)


def render(values: Mapping[str, Any] | None = None, release: str = RELEASE, namespace: str = NAMESPACE) -> Rendered:
    """Render the chart; results are shared, so leave them as they are."""
    return _render(json.dumps(values or {}, sort_keys=True), release, namespace)


def refusal(values: Mapping[str, Any]) -> str:
    """What Helm says to values it must refuse."""
    try:
        render(values)
    except helm.HelmError as error:
        return str(error)
    raise AssertionError(f"the chart took {values}")


def values_at(path: str, value: object) -> Tree:
    """`a.b` and v -> {a: {b: v}}."""
    tree: Tree = {}
    place = tree
    *parents, last = path.split(".")
    for key in parents:
        place = place.setdefault(key, {})
    place[last] = copy.deepcopy(value)
    return tree


def merged(*trees: Mapping[str, Any]) -> Tree:
    """Values over values, as Helm lays files over each other."""
    result: Tree = {}
    for tree in trees:
        for key, value in tree.items():
            below = result.get(key)
            both = isinstance(below, dict) and isinstance(value, dict)
            result[key] = merged(below, value) if both else copy.deepcopy(value)  # type: ignore[arg-type]
    return result
