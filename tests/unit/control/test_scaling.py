"""What control offers to scale under `hiper up` is what the supervisor can scale."""

from hiper.supervisor.table import SERVICES
from services.control.scaling import SCALABLE


def test_control_and_supervisor_agree_on_what_may_grow() -> None:
    assert {spec.name for spec in SERVICES if spec.resizable} == SCALABLE
