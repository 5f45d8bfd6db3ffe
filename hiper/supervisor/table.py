"""The services of the platform as data: what a process is called, runs, listens on, needs and becomes ready by.

`hiper up` starts processes from this table; the tests of the compose file and of the chart compare theirs with it, so a
service cannot be wired in one place and forgotten in another.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter

__all__ = [
    "BROKER",
    "BROKER_URL",
    "CONTROL_ADDRESS",
    "SERVICES",
    "WARMSTART",
    "WHEN_DONE",
    "Ending",
    "Port",
    "ServiceSpec",
    "layers",
]

BROKER = "broker"
"""The Redis-protocol server; ours only when the configuration names none."""
WARMSTART = "warmstart"
"""The step that makes a model before the run, where the configuration asks for one."""
BROKER_URL = "HIPER_BROKER__URL"
CONTROL_ADDRESS = "HIPER_CONTROL_ADDRESS"
WHEN_DONE = "HIPER_LEARNER__WHEN_DONE"
"""By its exit the learner says here that the run is at its end, whatever its file says for other places."""


class Ending(StrEnum):
    """What it means when a process ends by itself with exit code 0."""

    NEVER = "never"
    """A service: it is started again."""
    STEP = "step"
    """A preparation: those that require it may start."""
    RUN = "run"
    """The run is complete, once its mark is in the run directory."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port a service listens on beside HTTP; `{port}` stands for its number."""

    binds: Mapping[str, str]
    """Variables that tell the service itself where to listen."""
    variable: str
    """Variable that tells others where to find it."""
    many: bool = False
    """The variable takes a list, one address per process."""
    grpc: bool = True
    """It speaks gRPC; otherwise HTTP."""


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One row of the table."""

    name: str
    command: tuple[str, ...]
    """Arguments after `hiper`; `--config`, `--run-dir` and `--name` follow."""
    requires: tuple[str, ...] = ()
    """Rows that must have been ready once before this one starts."""
    reads: tuple[str, ...] = ()
    """Variables with addresses of others that it is given. No other secret or address reaches it."""
    port: Port | None = None
    health: str = "/readyz"
    """Path that answers 200 once it can serve."""
    scalable: bool = True
    """More than one process may run."""
    ranks: bool = False
    """Or else several may run as the ranks of one, which have its name, address and log."""
    ending: Ending = field(default=Ending.NEVER)
    broker_user: str = ""
    """User it logs in to the broker as; empty = its own name."""
    count: int = 1
    """Processes unless `supervisor.scale` says otherwise; 0 = only on request."""

    @property
    def resizable(self) -> bool:
        """Whether its number may change while the run goes on: nobody has to know their addresses."""
        return self.scalable and self.port is None


SERVICES: tuple[ServiceSpec, ...] = (
    ServiceSpec(
        "env_server",
        ("env", "serve", "--workers", "1"),
        port=Port({"HIPER_GRPC_ADDRESS": "127.0.0.1:{port}"}, "HIPER_ENV__ADDRESSES", many=True),
    ),
    ServiceSpec("reward", ("reward",), requires=(BROKER, "learner"), reads=(BROKER_URL,)),
    ServiceSpec("hae", ("hae", "serve"), requires=(BROKER, "learner"), reads=(BROKER_URL, "HIPER_HAE__CRITIC_ADDRESS")),
    ServiceSpec(
        "learner",
        ("learner",),
        requires=(BROKER, WARMSTART, "env_server"),
        reads=(BROKER_URL, "HIPER_ENV__ADDRESSES", WHEN_DONE),
        port=Port({"HIPER_LEARNER__CRITIC_PORT": "{port}"}, "HIPER_HAE__CRITIC_ADDRESS"),
        scalable=False,
        ranks=True,
        ending=Ending.RUN,
    ),
    ServiceSpec(
        "rollout",
        ("rollout",),
        requires=(BROKER, WARMSTART, "env_server"),
        reads=(BROKER_URL, "HIPER_ENV__ADDRESSES"),
    ),
    ServiceSpec(
        "control",
        ("control",),
        requires=(BROKER,),
        reads=(BROKER_URL,),
        port=Port({CONTROL_ADDRESS: "127.0.0.1:{port}"}, CONTROL_ADDRESS, grpc=False),
        broker_user="operator",
        count=0,
    ),
)


def layers(requires: Mapping[str, Iterable[str]]) -> list[tuple[str, ...]]:
    """Order names so that each comes in a later layer than everything it requires; raise `ValueError` on a circle."""
    sorter = TopologicalSorter({name: tuple(needed) for name, needed in requires.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        raise ValueError(f"these processes wait for each other: {' -> '.join(error.args[1])}") from error
    found = []
    while sorter.is_active():
        layer = tuple(sorted(sorter.get_ready()))
        found.append(layer)
        sorter.done(*layer)
    return found
