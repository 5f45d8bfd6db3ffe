"""What the rollout needs of its neighbours, as narrow as it uses them.

The real ones are in `hiper.streams` and `hiper.rpc`.
"""

from collections.abc import Collection
from typing import Protocol

from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.envs.base import TaskPin
from hiper.rpc.env_client import EnvStep
from hiper.streams import Delivery, PublishedPolicy

__all__ = ["Environment", "Outbox", "PolicySource", "TaskInbox"]


class Environment(Protocol):
    """Sessions on env servers, see `hiper.rpc.env_client.EnvClient`. Every failure is a `HiperError`."""

    async def open(self, session_id: str, task_id: str, seed: int, max_steps: int) -> EnvStep:
        """Start an episode; returns the first observation."""
        ...

    def describe(self, session_id: str) -> TaskPin:
        """Type and split of an open session's task."""
        ...

    async def step(self, session_id: str, action: str) -> EnvStep:
        """Play an action."""
        ...

    async def close(self, session_id: str) -> None:
        """Free a session; unknown ids are ignored."""
        ...


class TaskInbox(Protocol):
    """The `tasks` stream, see `hiper.streams.Consumer`."""

    async def receive(self, limit: int) -> list[Delivery]:
        """Return up to `limit` tasks, or none after a bounded wait."""
        ...

    async def ack(self, delivery: Delivery, *, deduplicated: bool = False) -> bool:
        """Say that a task's trajectory is published."""
        ...

    async def heartbeat(self, deliveries: Collection[Delivery]) -> frozenset[str]:
        """Say that these are worked on; returns the entry ids another consumer has taken over."""
        ...

    async def release(self, deliveries: Collection[Delivery]) -> None:
        """Give tasks back unfinished."""
        ...

    async def dead_letter(self, delivery: Delivery, error: str) -> bool:
        """Put a task aside that cannot be played by anybody."""
        ...


class Outbox(Protocol):
    """The way to `traj.raw`, see `hiper.streams.Publisher`."""

    async def publish(self, trajectory: Trajectory) -> bool:
        """Publish once; False if the id had been published. Raises `BrokerFull`."""
        ...

    async def is_published(self, trajectory_id: str) -> bool:
        """Whether a trajectory of this id was published."""
        ...


class PolicySource(Protocol):
    """Where versions are announced, see `hiper.streams.PolicyBoard`."""

    async def read(self) -> PublishedPolicy | None:
        """The policy in force; None before the first one."""
        ...
