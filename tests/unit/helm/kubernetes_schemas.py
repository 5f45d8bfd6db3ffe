"""Kubernetes' own schemas, closed, of many versions, from the package `kubernetes-validate`."""

import functools
import json
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

_SCHEMAS = files("kubernetes_validate") / "kubernetes-json-schema"
CUSTOM = {"Certificate", "ScaledObject", "ServiceMonitor", "PrometheusRule"}
"""Kinds of operators: Kubernetes knows no schema for them."""
_STRICT = "-local-strict"
VERSIONS = sorted(
    (folder.name[1:].removesuffix(_STRICT) for folder in _SCHEMAS.iterdir() if folder.name.endswith(_STRICT)),
    key=lambda version: [int(part) for part in version.split(".")],
)


def faults(item: dict[str, Any], version: str) -> list[str]:
    """Return what Kubernetes `version` would refuse, as `path: reason`."""
    return _faults(json.dumps(item, sort_keys=True), version)


@functools.cache
def _faults(text: str, version: str) -> list[str]:
    item = json.loads(text)  # most objects are the same in every set of values, and checked once
    validator = _validator(item["kind"].lower(), item["apiVersion"], version)
    return [f"{item['kind']} {'.'.join(map(str, e.path))}: {e.message}" for e in validator.iter_errors(item)]


@functools.cache
def _validator(kind: str, api_version: str, version: str) -> Draft202012Validator:
    group, _, number = api_version.rpartition("/")
    name = f"{kind}-{group.split('.')[0]}-{number}.json" if group else f"{kind}-{number}.json"
    return Draft202012Validator(json.loads((_folder(version) / name).read_text()), registry=_definitions(version))


@functools.cache
def _definitions(version: str) -> "Registry[Any]":
    definitions = json.loads((_folder(version) / "_definitions.json").read_text())
    # Crawled once, or every reference would crawl it again.
    return Registry().with_resource("_definitions.json", Resource.from_contents(definitions)).crawl()


def _folder(version: str) -> Any:
    return _SCHEMAS / f"v{version}{_STRICT}"
