"""The configured estimator as a function of a batch."""

from collections.abc import Callable
from typing import Any

from hiper.advantages.batch import TurnAdvantages, TurnBatch
from hiper.advantages.gae import GaeConfig, estimate_gae
from hiper.advantages.gigpo import GigpoConfig, estimate_gigpo
from hiper.advantages.grpo import GrpoConfig, estimate_grpo
from hiper.advantages.hae import HaeConfig, estimate_hae
from hiper.advantages.hae_gigpo import HaeGigpoConfig, estimate_hae_gigpo
from hiper.advantages.hae_group import HaeGroupConfig, estimate_hae_group
from hiper.advantages.reinforce_pp import ReinforcePpConfig, estimate_reinforce_pp
from hiper.advantages.rloo import RlooConfig, estimate_rloo
from hiper.config.sections import HaeSettings

__all__ = ["ESTIMATORS", "Estimator", "make_estimator"]

Estimator = Callable[[TurnBatch], TurnAdvantages]

ESTIMATORS: dict[str, tuple[Callable[..., Any], Callable[[TurnBatch, Any], TurnAdvantages]]] = {
    "hae": (HaeConfig, estimate_hae),
    "gae": (GaeConfig, estimate_gae),
    "grpo": (GrpoConfig, estimate_grpo),
    "rloo": (RlooConfig, estimate_rloo),
    "reinforce++": (ReinforcePpConfig, estimate_reinforce_pp),
    "gigpo": (GigpoConfig, estimate_gigpo),
    "hae_group": (HaeGroupConfig, estimate_hae_group),
    "hae_gigpo": (HaeGigpoConfig, estimate_hae_gigpo),
}
"""By the name in the settings, whose other fields are fields of the config."""


def make_estimator(settings: HaeSettings) -> Estimator:
    """Return the estimator of `settings`."""
    chosen = settings.estimator
    make_config, estimate = ESTIMATORS[chosen.name]
    parameters = chosen.model_dump(exclude={"name"})
    if settings.whiten is not None:
        parameters["whiten"] = settings.whiten
    config = make_config(**parameters)
    return lambda batch: estimate(batch, config)
