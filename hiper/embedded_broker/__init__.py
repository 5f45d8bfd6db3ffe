"""A broker of one's own: which server to run, how to configure it, how to start it.

`resolve_broker` decides and writes the configuration; the supervisor runs `BrokerLaunch.argv` and restarts it like any
other process. `start` does that for tests and tools.
"""

from hiper.embedded_broker.launch import BrokerLaunch, resolve_broker, running_url
from hiper.embedded_broker.process import RunningBroker, start
from hiper.embedded_broker.servers import ServerBinary, find_server

__all__ = ["BrokerLaunch", "RunningBroker", "ServerBinary", "find_server", "resolve_broker", "running_url", "start"]
