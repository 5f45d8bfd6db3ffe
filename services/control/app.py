"""Wiring of the control service."""

from hiper.service import ServiceContext
from hiper.service.http import serve_here
from services.control.access import Access
from services.control.api import create_api
from services.control.desk import Desk
from services.control.kubernetes_scaling import KubernetesScaler, in_cluster
from services.control.scaling import Scaler, SupervisorScaler

__all__ = ["main"]


async def main(context: ServiceContext) -> None:
    """Serve the API until `context.stop`."""
    access = Access.from_environment()
    async with Desk(context.config, context.run_dir, context.name) as desk:
        scaler: Scaler = await KubernetesScaler.from_pod(context.name) if in_cluster() else SupervisorScaler(desk)
        api = create_api(desk, scaler, access, context.health)
        async with serve_here(api, access.address) as address:
            context.health.set("service", True, address)
            context.log.info("control ready", address=address, token=access.token is not None)
            await context.stop.wait()
