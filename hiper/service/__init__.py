"""What every service process has in common: settings, logs, health, metrics, signals."""

from hiper.service.health import Health
from hiper.service.runtime import ServiceContext, run_service

__all__ = ["Health", "ServiceContext", "run_service"]
