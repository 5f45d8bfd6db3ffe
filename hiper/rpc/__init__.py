"""gRPC as HiPER speaks it: servers and channels that agree on limits, and the client of the env service."""

from hiper.rpc.channel import open_channel
from hiper.rpc.listen import Listen
from hiper.rpc.server import RunningServer, serve
from hiper.rpc.tls import TlsFiles

__all__ = ["Listen", "RunningServer", "TlsFiles", "open_channel", "serve"]
