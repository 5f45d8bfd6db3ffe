"""Wiring of the control service."""

from hiper.service import ServiceContext
from hiper.service.http import serve_here
from services.control.access import Access
from services.control.api import create_api
from services.control.desk import Desk
from services.control.kubernetes_scaling import KubernetesScaler, in_cluster
from services.control.scaling import Scaler, SupervisorScaler
from services.control.watching import WatchedServices

__all__ = ["main"]


async def main(context: ServiceContext) -> None:
    """Serve the API until `context.stop`."""
    access = Access.from_environment()
    async with Desk(context.config, context.run_dir, context.name) as desk:
        api = create_api(desk, await _scaler(desk, context.name), access, context.health)
        async with serve_here(api, access.address) as address:
            context.health.set("service", True, address)
            context.log.info("control ready", address=address, token=access.token is not None)
            await context.stop.wait()


async def _scaler(desk: Desk, name: str) -> Scaler:
    if in_cluster():
        return await KubernetesScaler.from_pod(name)
    return WatchedServices.from_environment() or SupervisorScaler(desk)
