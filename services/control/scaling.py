"""Who runs the processes, behind one interface: the supervisor of `hiper up`, Kubernetes, or somebody else."""

from collections.abc import Sequence
from typing import Any, Protocol

from hiper.errors import RunStateError
from hiper.streams import RunControl
from services.control.desk import Desk
from services.control.models import ProcessStatus, ServiceStatus

__all__ = ["SCALABLE", "Scaler", "SupervisorScaler"]

SCALABLE = frozenset({"rollout", "reward", "hae"})
"""Services whose addresses nobody has to know."""


class Scaler(Protocol):
    """Sees the processes of a run and changes how many there are."""

    async def services(self) -> Sequence[ServiceStatus]:
        """Every service that is known."""

    async def scale(self, service: str, replicas: int) -> None:
        """Wish for another number of processes of a scalable service; returns before they are there."""

    def why_fixed(self) -> str:
        """Say to whoever wants another size of a service that is not scalable what can be done."""


class SupervisorScaler:
    """`hiper up` on the same machine: it writes `status.json` and follows wishes in the control record."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def services(self) -> Sequence[ServiceStatus]:
        """Read the supervisor's status; nothing where there is no supervisor."""
        by_service: dict[str, list[dict[str, Any]]] = {}
        for process in self._desk.files.tree("status.json").get("processes", []):
            by_service.setdefault(process["service"], []).append(process)
        return [_service(name, processes) for name, processes in by_service.items()]

    async def scale(self, service: str, replicas: int) -> None:
        """Leave a wish for the supervisor. Raises `RunStateError` for none at all: it would look like a hang."""
        if replicas < 1:
            raise RunStateError(f"a run needs at least one {service}", "pause the run instead")
        await self._desk.ask(lambda broker: RunControl(broker).wish_scale(service, replicas))

    def why_fixed(self) -> str:
        """See `Scaler`."""
        return f"of a running `hiper up`, {', '.join(sorted(SCALABLE))} can be scaled"


def _service(name: str, processes: Sequence[dict[str, Any]]) -> ServiceStatus:
    return ServiceStatus(
        service=name,
        wanted=len(processes),
        ready=sum(process["state"] == "ready" for process in processes),
        scalable=name in SCALABLE,
        processes=[
            ProcessStatus(
                name=process["name"],
                state=process["state"],
                detail=process["detail"],
                restarts=process["restarts"],
            )
            for process in processes
        ],
    )
