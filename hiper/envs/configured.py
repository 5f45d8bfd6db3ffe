"""The task source the settings ask for: real game files where `env.data` says so, generated games otherwise, or the
tasks of an environment of the user's own.
"""

from dataclasses import replace
from functools import partial

from hiper.config.sections import EnvSettings
from hiper.envs.base import TaskSource
from hiper.envs.custom import open_custom
from hiper.envs.registry import open_source
from hiper.errors import ConfigError
from hiper.vocabulary import EnvName

__all__ = ["open_configured_source"]


def open_configured_source(settings: EnvSettings) -> TaskSource:
    """Open the tasks of `settings` and list them once, so that the first caller does not wait for it.

    Environments draw what they draw at load from their own fixed seed, so that every server of a run agrees and runs
    with different seeds share their panels. Raises `ConfigError` and `DataError`.
    """
    source = _opened(settings)
    for split in source.splits():
        source.ids(split)
    return source


def _opened(settings: EnvSettings) -> TaskSource:
    if not settings.is_built_in:
        return open_custom(settings.name, settings.data, settings.options)
    if settings.name == EnvName.WEBSHOP:
        return _webshop(settings)
    cache_bytes = settings.cache_mb * 2**20
    if settings.data is None:
        return _generated_games(settings, cache_bytes)
    return open_source(settings.name, settings.data, cache_bytes=cache_bytes)


def _webshop(settings: EnvSettings) -> TaskSource:
    from hiper.envs.webshop.generator import CatalogueSpec
    from hiper.envs.webshop.reward import OptionRule
    from hiper.envs.webshop.source import WebShopFiles
    from hiper.envs.webshop.synthetic import SyntheticWebShop
    from hiper.envs.webshop.text import Observation

    shop = settings.webshop
    spec = CatalogueSpec(shop.synthetic_products, shop.synthetic_seed)
    generated = partial(SyntheticWebShop, spec, held_out=settings.synthetic_valid)
    open_shop = generated if settings.data is None else partial(WebShopFiles, settings.data)
    return open_shop(
        human_goals=shop.human_goals,
        observation=Observation(shop.observation),
        option_rule=OptionRule(shop.option_rule),
    )


def _generated_games(settings: EnvSettings, cache_bytes: int) -> TaskSource:
    from hiper.envs.alfworld.model import TaskType
    from hiper.envs.alfworld.synthetic import SplitSpec

    preset = settings.synthetic_preset
    spec = SplitSpec(
        size=int(preset) if preset.isdigit() else preset,
        horizon=settings.horizon,
        train=settings.synthetic_train,
        valid=settings.synthetic_valid,
    )
    if settings.task_types:
        try:
            spec = replace(spec, types=tuple(TaskType(name) for name in settings.task_types))
        except ValueError as error:
            valid = ", ".join(TaskType)
            raise ConfigError(f"env.task_types: {error}", f"ALFWorld's task types are {valid}") from error
    return open_source(settings.name, spec=spec, cache_bytes=cache_bytes)
