"""The OpenAPI document of the API: `python -m services.control.openapi > services/control/openapi.json`."""

import json
import sys
from pathlib import Path

from hiper.config import RunConfig
from hiper.service import Health
from services.control.access import Access
from services.control.api import create_api
from services.control.desk import Desk
from services.control.scaling import SupervisorScaler

__all__ = ["openapi_text"]


def openapi_text() -> str:
    """Return the document, JSON."""
    desk = Desk(RunConfig(), Path(), "openapi")
    return json.dumps(create_api(desk, SupervisorScaler(desk), Access(), Health()).openapi(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(openapi_text())
