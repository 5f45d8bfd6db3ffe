"""How the broker itself is: memory, persistence, load, from its `INFO`, which managed servers show even where they hide
CONFIG. What a server does not say is left unmeasured.
"""

from collections.abc import Mapping

from hiper.metrics import gauge
from hiper.streams.broker import Broker

__all__ = ["measure_server"]

_FIGURES = {
    "broker_memory_bytes": "used_memory",
    "broker_memory_max_bytes": "maxmemory",
    "broker_evicted_keys": "evicted_keys",
    "broker_clients": "connected_clients",
    "broker_commands_per_second": "instantaneous_ops_per_sec",
    "broker_uptime_seconds": "uptime_in_seconds",
}
_WRITES = ("aof_last_write_status", "aof_last_bgrewrite_status")


async def measure_server(broker: Broker) -> None:
    """Set the `broker_*` gauges to what the server says now."""
    export(await broker.command("INFO"))


def export(info: Mapping[str, object]) -> None:
    """Set the gauges from a parsed INFO reply."""
    for metric, key in _FIGURES.items():
        if key in info:
            gauge(metric).set(float(str(info[key])))
    gauge("broker_aof_bytes").set(float(str(info.get("aof_current_size", 0))))
    said = [info[key] for key in _WRITES if key in info]
    if said:
        gauge("broker_persistence_ok").set(all(status == "ok" for status in said))
