"""Settings of the way from the learner's weights into every engine."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from hiper.config.base import Positive, Seconds, Section

__all__ = ["BASE_URL", "WeightsSettings"]

BASE_URL = re.compile(r"http://(?:\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,253}):\d{1,5}")
"""Scheme and authority, nothing behind them."""


class WeightsSettings(Section):
    """How published weights reach the rollouts."""

    transport: Literal["filesystem", "http"] = "filesystem"
    """`filesystem`: learner and rollouts share the run directory. `http`: the learner serves the files, and rollouts
    that have them pass them on."""
    address: str = "127.0.0.1:0"
    """Where this process serves weights (`http` only); port 0 = any free one. Beyond loopback it needs the token file
    of HIPER_GRPC_TOKEN_FILE."""
    advertise: str | None = None
    """Base URL (`http://host:port`) others reach that under. None: the address itself, which must then name a host."""
    relay: bool = True
    """A rollout serves what it has fetched to other rollouts, so that the learner's link is not the bottleneck."""
    delta: bool = True
    """Send only what changed since the version before, where that is less."""
    upload_slots: Positive = 4
    """Files a process sends at once; who comes then asks somebody else, or again. Few, so that some rollout is soon
    whole and can pass them on."""
    streams: Positive = 4
    """Files a rollout fetches at once."""
    silence_timeout_s: Seconds = 10.0
    """Longest wait for a connection, or for its next bytes."""
    unavailable_timeout_s: Seconds = 20.0
    """How long nothing at all may arrive before a fetch fails; it begins anew, where it stopped, at the address that is
    announced then."""
    fetch_timeout_s: Seconds = 900.0
    """Deadline of fetching and verifying one version, by either transport."""
    keep_fetched: Annotated[int, Field(ge=1)] = 2
    """Versions a rollout keeps: the newest is the base of the next delta and what it passes on."""

    @field_validator("advertise")
    @classmethod
    def _is_a_base_url(cls, url: str | None) -> str | None:
        if url is not None and not BASE_URL.fullmatch(url):
            raise ValueError("write http://host:port, with nothing behind it")
        return url
