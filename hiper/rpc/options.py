"""Channel and server options, in one place because both ends must agree on them (spec/services.md, section 1.5).

A client that pings more often than its server allows is sent away with GOAWAY `too_many_pings`; a reply larger than the
client's limit can never be read. Both are impossible as long as everybody takes the options from here.
"""

import json

__all__ = [
    "CLIENT_KEEPALIVE_S",
    "MAX_MESSAGE_BYTES",
    "MAX_METADATA_BYTES",
    "SERVER_MIN_PING_INTERVAL_S",
    "Option",
    "client_options",
    "server_options",
]

Option = tuple[str, int | str]

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Largest message either way: 256 items with long texts, or 512 value queries, with room to spare."""
MAX_METADATA_BYTES = 48 * 1024
"""Largest metadata either way: what 256 items of traced trajectories need (105 bytes each), nearly twice."""
CLIENT_KEEPALIVE_S = 60
"""How often a client with calls in flight asks whether the connection still lives."""
SERVER_MIN_PING_INTERVAL_S = 30
"""Pings may not come faster than this; below `CLIENT_KEEPALIVE_S`, so that jitter is no offence."""
_KEEPALIVE_TIMEOUT_S = 20
_CONNECTION_AGE_S = 30 * 60
"""Connections are renewed this often, so that clients find servers that were added."""
_CONNECTION_AGE_GRACE_S = 5 * 60
_FIRST_RECONNECT_MS = 100
_LAST_RECONNECT_MS = 2000
"""gRPC's own default of two minutes would outlast every restart of a peer."""

_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                # Nothing else: only here is it certain that a repeat can help, and every call may be repeated.
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
}


def client_options() -> list[Option]:
    """Options of every channel: limits, keepalive during calls, quick reconnects, retries of UNAVAILABLE only."""
    return [
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.keepalive_time_ms", CLIENT_KEEPALIVE_S * 1000),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_S * 1000),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.initial_reconnect_backoff_ms", _FIRST_RECONNECT_MS),
        ("grpc.min_reconnect_backoff_ms", _FIRST_RECONNECT_MS),
        ("grpc.max_reconnect_backoff_ms", _LAST_RECONNECT_MS),
        ("grpc.enable_retries", 1),
        ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ]


def server_options() -> list[Option]:
    """Options of every server: limits, the other half of keepalive, one owner per port."""
    return [
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.http2.min_ping_interval_without_data_ms", SERVER_MIN_PING_INTERVAL_S * 1000),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.max_connection_age_ms", _CONNECTION_AGE_S * 1000),
        ("grpc.max_connection_age_grace_ms", _CONNECTION_AGE_GRACE_S * 1000),
        # Two servers on one port would each get half of a session's calls.
        ("grpc.so_reuseport", 0),
    ]
