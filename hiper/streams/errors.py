"""Failures of the delivery contract that callers tell apart."""

from hiper.errors import BrokerError, DependencyError, RunStateError

__all__ = ["BrokerFull", "BrokerLost", "FutureSchema", "LeaseLost"]


class BrokerFull(BrokerError):  # noqa: N818 - named for the state it reports
    """Memory or disk of the broker is full: nothing was published. Keep the trajectory in the spool and take no new
    tasks.
    """


class BrokerLost(BrokerError):  # noqa: N818 - named for the state it reports
    """The broker answers, but the data of this run is gone or another run's. Never go on, never start over silently."""


class LeaseLost(RunStateError):  # noqa: N818 - named for the state it reports
    """A newer learner has taken over; this process must stop."""


class FutureSchema(DependencyError):  # noqa: N818 - named for the state it reports
    """An entry is of a newer schema than this process knows. It stays pending for an upgraded consumer."""
