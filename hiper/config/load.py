"""Load a run's configuration: file, then `HIPER_*` environment variables, then explicit overrides; the last one wins.

`HIPER_LEARNER__ACTOR__LR=1e-5` sets `learner.actor.lr`; values are read as YAML. Variables whose name holds no `__`
belong to other parts (`HIPER_DATA`, `HIPER_HTTP_ADDRESS`, ...) unless they name a top-level key (`HIPER_SEED`). An
unknown key or variable is an error that names the nearest valid one. Files may say `extends: other.yaml`, relative to
themselves.

Mappings are merged, except where settings come in variants (`hae.estimator`, `learner.backend`, `rollout.prompt`): a
layer that names another variant than those below replaces theirs, whose keys it does not have.
"""

import difflib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from hiper.config.run import RunConfig
from hiper.errors import ConfigError

__all__ = ["PREFIX", "config_hash", "load_config", "parse_config"]

PREFIX = "HIPER_"
RESERVED = frozenset(
    {
        "HIPER_CONTROL_ADDRESS",
        "HIPER_CONTROL_SERVICES",
        "HIPER_CONTROL_TOKEN_FILE",
        "HIPER_DATA",
        "HIPER_FAILPOINT",
        "HIPER_GOLDEN",
        "HIPER_GRPC_ADDRESS",
        "HIPER_GRPC_TLS_CA_FILE",
        "HIPER_GRPC_TLS_CERT_FILE",
        "HIPER_GRPC_TLS_KEY_FILE",
        "HIPER_GRPC_TOKEN_FILE",
        "HIPER_HTTP_ADDRESS",
        "HIPER_NO_UI",
        "HIPER_OPENENV_ADDRESS",
        "HIPER_OPENENV_SHARED",
        "HIPER_ORIGINAL_PYTHON",
        "HIPER_REDIS_URL",
    }
)

_Tree = dict[str, Any]
_Keys = tuple[str, ...]
"""Where in the tree something is."""


def load_config(
    path: Path, *, environment: Mapping[str, str] | None = None, overrides: Mapping[str, object] | None = None
) -> RunConfig:
    """Read `path`, apply `environment` (default: the process's own) and `overrides` (dotted keys), validate."""
    tree = _read_file(path, seen=())
    return parse_config(tree, source=str(path), environment=environment, overrides=overrides)


def parse_config(
    tree: Mapping[str, Any],
    *,
    source: str,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> RunConfig:
    """Like `load_config`, for a tree that was already read. `source` names it in errors."""
    merged: _Tree = _merge({}, tree)
    _assign_all(merged, _environment_overrides(os.environ if environment is None else environment))
    _assign_all(merged, ((tuple(dotted.split(".")), value) for dotted, value in (overrides or {}).items()))
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_explain(error)}", "see `hiper config schema` for every key") from error


def config_hash(config: RunConfig) -> str:
    """Return the sha256 of the configuration; secrets, local addresses and ports, tracing and how processes are run are
    left out: they may differ each time."""
    left_out: dict[str, Any] = {
        "broker": {"url", "password_file"},
        "env": {"addresses"},
        "hae": {"critic_address"},
        "learner": {"critic_port", "when_done"},
        "supervisor": True,
        "tracing": True,
    }
    tree = config.model_dump(mode="json", exclude=left_out)
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def _read_file(path: Path, seen: tuple[Path, ...]) -> _Tree:
    resolved = path.resolve()
    if resolved in seen:
        raise ConfigError(f"{path}: extends itself", "remove the circle of `extends` lines")
    try:
        tree = yaml.safe_load(resolved.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "give --config the path of a run file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}", "mend the line named") from error
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path}: expected a mapping of settings, found {type(tree).__name__}", "write `key: value` lines"
        )
    parent = tree.pop("extends", None)
    if parent is None:
        return tree
    return _merge(_read_file(resolved.parent / str(parent), (*seen, resolved)), tree)


def _merge(base: Mapping[str, Any], top: Mapping[str, Any], at: _Keys = ()) -> _Tree:
    tag = _variant_tags().get(at)
    merged = {} if tag and _differ(base.get(tag), top.get(tag)) else dict(base)
    for key, value in top.items():
        below = merged.get(key)
        # A nested mapping is always copied: overrides are written into the result and must not reach the caller's.
        nested = below if isinstance(below, dict) else {}
        merged[key] = _merge(nested, value, (*at, key)) if isinstance(value, dict) else value
    return merged


def _assign_all(tree: _Tree, values: Iterable[tuple[_Keys, object]]) -> None:
    """Write one layer of settings, the tags of variants first: they decide which keys of the layers below stay."""
    tags = _variant_tags()
    for keys, value in sorted(values, key=lambda item: tags.get(item[0][:-1]) != item[0][-1]):
        _assign(tree, keys, value)


def _assign(tree: _Tree, keys: _Keys, value: object) -> None:
    *parents, last = keys
    for key in parents:
        child = tree.get(key)
        if not isinstance(child, dict):
            child = {}
            tree[key] = child
        tree = child
    if _variant_tags().get(tuple(parents)) == last and _differ(tree.get(last), value):
        tree.clear()
    tree[last] = value


def _differ(below: object, above: object) -> bool:
    """Whether two layers name different variants. A layer that names none goes along with the other."""
    return below is not None and above is not None and below != above


@cache
def _variant_tags() -> dict[_Keys, str]:
    """Where settings come in variants, and the key that says which."""
    return dict(_tags_below(RunConfig, ()))


def _tags_below(model: type[BaseModel], at: _Keys) -> Iterator[tuple[_Keys, str]]:
    for name, field in model.model_fields.items():
        if isinstance(field.discriminator, str):
            yield (*at, name), field.discriminator
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _tags_below(field.annotation, (*at, name))


def _environment_overrides(environment: Mapping[str, str]) -> Iterator[tuple[_Keys, object]]:
    top = set(RunConfig.model_fields)
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name in RESERVED:
            continue
        keys = tuple(name.removeprefix(PREFIX).lower().split("__"))
        if len(keys) == 1 and keys[0] not in top:
            raise ConfigError(f"environment variable {name} is not known", _nearest(keys[0], top, PREFIX, str.upper))
        yield keys, yaml.safe_load(environment[name])


def _explain(error: ValidationError) -> str:
    parts = []
    for detail in error.errors():
        location = ".".join(str(part) for part in detail["loc"])
        if detail["type"] == "extra_forbidden":
            *parents, last = [str(part) for part in detail["loc"]]
            parts.append(f"unknown key '{location}'; {_nearest(last, _siblings(parents), '', str)}")
        else:
            parts.append(f"{location or 'the file'}: {detail['msg'].removeprefix('Value error, ')}")
    return "; ".join(parts)


def _nearest(name: str, valid: set[str], prefix: str, case: Any) -> str:
    close = difflib.get_close_matches(name, sorted(valid), n=1, cutoff=0.5)
    if close:
        return f"did you mean '{prefix}{case(close[0])}'?"
    return "valid here: " + ", ".join(f"{prefix}{case(key)}" for key in sorted(valid))


def _siblings(parents: list[str]) -> set[str]:
    """Return the keys that are valid beside an unknown one, following nested models and unions by their tags."""
    models: list[type[BaseModel]] = [RunConfig]
    for part in parents:
        fields = [model.model_fields[part].annotation for model in models if part in model.model_fields]
        if fields:
            models = [model for field in fields for model in _models(field)]
    return {key for model in models for key in model.model_fields}


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if get_origin(annotation) in (Union, UnionType, Annotated, dict):
        for argument in get_args(annotation):
            yield from _models(argument)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
