"""The configured estimator as a function of a batch."""

from collections.abc import Callable

from hiper.advantages.batch import TurnAdvantages, TurnBatch
from hiper.advantages.gae import GaeConfig, estimate_gae
from hiper.advantages.hae import HaeConfig, HaeMode, estimate_hae
from hiper.config.sections import GaeEstimator, HaeSettings
from hiper.errors import ConfigError

__all__ = ["Estimator", "make_estimator"]

Estimator = Callable[[TurnBatch], TurnAdvantages]


def make_estimator(settings: HaeSettings) -> Estimator:
    """Return the estimator of `settings`. Raises `ConfigError` for one whose inputs no trajectory carries."""
    chosen = settings.estimator
    if isinstance(chosen, GaeEstimator):
        flat = GaeConfig(gamma=chosen.gamma, lam=chosen.lam, whiten=settings.whiten)
        return lambda batch: estimate_gae(batch, flat)
    mode = HaeMode(chosen.mode)
    if mode is HaeMode.PAPER:
        raise ConfigError(
            "hae.estimator.mode 'paper' needs P(SWITCH) and V_low of the previous sub-goal; trajectories carry neither",
            "use mode 'default', or `hiper hae compute --mode paper` on a file that has them",
        )
    config = HaeConfig(
        mode=mode,
        gamma=chosen.gamma,
        lam_low=chosen.lam_low,
        lam_seg=chosen.lam_seg,
        whiten=settings.whiten,
    )
    return lambda batch: estimate_hae(batch, config)
