"""Settings of the environments: which tasks are played, and how the env service hosts them."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue, model_validator

from hiper.config.base import Positive, Seconds, Section
from hiper.config.webshop import WebShopSettings
from hiper.vocabulary import EnvName

__all__ = ["EnvSettings"]


def _known_or_own(name: str) -> str:
    if name in tuple(EnvName) or re.fullmatch(r"entry-point:[\w.-]+|[\w.]+:[\w.]+", name):
        return name
    ways = f"{', '.join(EnvName)}, or one of your own as package.module:name or entry-point:name"
    raise ValueError(f"there is no environment {name!r}: use one of {ways}")


class EnvSettings(Section):
    """Which tasks are played, and how the env service hosts them."""

    name: Annotated[str, AfterValidator(_known_or_own)] = EnvName.ALFWORLD.value
    """`alfworld`, `webshop`, or an environment of your own (docs/environments.md): `package.module:name`, importable by
    the env servers, or `entry-point:name`, which an installed package offers in the group `hiper.environments`."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Keyword arguments of an environment of your own."""
    data: Path | None = None
    """Folder or archive with the real games. None: synthetic games. Your own environment gets it as option `data`."""
    synthetic_preset: str = "demo"
    """Which synthetic ALFWorld games: `demo`, a number of receptacles (3-60), or `horizon-<k>` for chains of k
    sub-tasks."""
    synthetic_train: Positive = 2000
    """Synthetic ALFWorld training games."""
    synthetic_valid: Positive = 128
    """Synthetic held-out tasks, disjoint from training: games by seed and content, WebShop goals by product."""
    webshop: WebShopSettings = WebShopSettings()
    """What only WebShop has."""
    train_split: str = "train"
    """Split training tasks are drawn from, held against the shipped panel of that data where there is one."""
    train_panel: str | None = None
    """Panel to train on, by name or path. None: what the evaluation's panel says to train on, else `train_split`."""
    task_types: tuple[str, ...] = ()
    """Restrict training and evaluation to these task types; empty = all."""
    max_steps: Positive = 50
    """Step limit of an episode; reaching it truncates. Where `synthetic_preset` is `horizon-<k>` the default is 50k."""
    addresses: tuple[str, ...] = ()
    """Addresses of env servers: `host:port`, `host:first-last` or `dns:///host:port`. Filled in by `hiper up`."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes of one `hiper env serve`, on a port each; 0 = one for each processor it may use. `hiper up` and pods
    run one each and scale by their number."""
    max_sessions: Positive = 4096
    """Live sessions per process; more are refused with RESOURCE_EXHAUSTED."""
    cache_mb: Positive = 384
    """Parsed ALFWorld games kept by one `hiper env serve`, in MiB of their files, divided among its processes. The
    default has room for all 4,027 (344 MiB, half of that in memory); those beyond it are parsed again, 2 ms each."""
    max_items: Annotated[int, Field(gt=0, le=256)] = 256
    """Items per batched call."""
    lease_s: Seconds = 120.0
    """A session untouched for this long is freed."""
    reset_timeout_s: Seconds = 30.0
    """Deadline of a reset call."""
    step_timeout_s: Seconds = 10.0
    """Deadline of a step call."""
    unavailable_timeout_s: Seconds = 120.0
    """How long a rollout keeps retrying a lost env server before it abandons the episode."""

    @property
    def is_built_in(self) -> bool:
        """Whether the environment is one of this package's."""
        return self.name in tuple(EnvName)

    @property
    def horizon(self) -> int:
        """Sub-tasks chained in every synthetic game; 0 = the games are no chains."""
        return _horizon_of(self.synthetic_preset)

    @model_validator(mode="before")
    @classmethod
    def _scale_step_limit(cls, values: JsonValue) -> JsonValue:
        if isinstance(values, dict) and "max_steps" not in values:
            horizon = _horizon_of(values.get("synthetic_preset"))
            return {**values, "max_steps": 50 * horizon} if horizon else values
        return values

    @model_validator(mode="after")
    def _options_are_your_own(self) -> "EnvSettings":
        if self.options and self.is_built_in:
            raise ValueError(f"options: {self.name} takes none; they are for environments of your own")
        return self


def _horizon_of(preset: object) -> int:
    found = re.fullmatch(r"horizon-([1-9]\d*)", preset) if isinstance(preset, str) else None
    return int(found[1]) if found else 0
