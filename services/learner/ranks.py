"""The processes that train together, as seen from one of them."""

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["DistributedRanks", "Ranks"]


class Ranks:
    """The processes that train together. This class: one alone."""

    index = 0
    """Of this process."""
    of = 1
    """How many there are."""

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of every rank's `tensor`."""
        return tensor

    def any(self, mine: bool) -> bool:
        """Return whether any rank says so."""
        return mine


class DistributedRanks(Ranks):
    """The processes of a torch process group."""

    def __init__(self, device: torch.device) -> None:
        self.index = dist.get_rank()
        self.of = dist.get_world_size()
        self.device = device

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of every rank's `tensor`."""
        total = tensor.detach().to(self.device, copy=True)
        dist.all_reduce(total)
        return total.to(tensor.device)

    def any(self, mine: bool) -> bool:
        """Return whether any rank says so."""
        return bool(self.sum(torch.tensor([float(mine)])).item())
