"""A checkpoint goes with the broker's data it was made with, and must hold whatever was acknowledged there."""

from hiper import logs
from hiper.errors import RunStateError
from hiper.streams import Broker
from services.learner.state import RunState

__all__ = ["take_up_lineage"]


async def take_up_lineage(state: RunState, broker: Broker, *, adopt: bool) -> bool:
    """Bind `state` to the broker's data; False if it was not bound to it before.

    Raises `RunStateError` if it was bound to other data, unless `adopt` accepts that what was in flight is gone, and if
    it lacks trajectories that were applied and acknowledged: it is an older checkpoint.
    """
    if state.lineage and state.lineage != broker.epoch:
        if not adopt:
            raise RunStateError(
                f"the newest checkpoint, of version {state.version}, goes with broker data that is gone: its epoch is "
                f"{state.lineage}, the broker's {broker.epoch}",
                "restore the broker's volume, or go on without what was in flight: learner.adopt_checkpoint=true",
            )
        logs.get().warning("a new lineage begins; what was in flight is gone", policy_version=state.version)
        state.applied = 0
    known, state.lineage = state.lineage == broker.epoch, broker.epoch
    counts = await broker.counts()
    if counts.applied > state.applied:
        raise RunStateError(
            f"the newest checkpoint, of version {state.version}, is older than the broker's data: {counts.applied} "
            f"trajectories were applied and acknowledged, it holds {state.applied} of them",
            "put the newer checkpoint back; to go on from this one on purpose, begin with an empty broker or under "
            "another run name, and learner.adopt_checkpoint=true",
        )
    return known
