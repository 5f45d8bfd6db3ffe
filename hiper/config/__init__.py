"""Typed settings of a run: models, loading, environment overrides."""

from hiper.config.load import config_hash, load_config, parse_config
from hiper.config.run import RunConfig

__all__ = ["RunConfig", "config_hash", "load_config", "parse_config"]
