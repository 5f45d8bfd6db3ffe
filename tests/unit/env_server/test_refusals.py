"""The table of reasons in the README and the code say the same."""

import re
from pathlib import Path

from hiper.rpc.reasons import EnvReason
from services.env_server.refusals import CODES, Refusal

README = Path(__file__).resolve().parents[3] / "services" / "env_server" / "README.md"


def test_readme_and_code_list_the_same_reasons_and_codes() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ([A-Z_]+) \|", README.read_text(), flags=re.MULTILINE))
    assert rows == {reason.value: code.name for reason, code in CODES.items()}
    assert set(CODES) == set(EnvReason)


def test_a_refusal_keeps_its_reason_on_the_wire() -> None:
    status = Refusal(EnvReason.SESSIONS_FULL, "full", 0.5).status()
    assert (status.code, status.reason, status.retry_after_seconds) == (8, "SESSIONS_FULL", 0.5)
