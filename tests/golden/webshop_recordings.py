"""Where the recordings of the original WebShop and its data files are, and the marks of tests that need both."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("HIPER_DATA", ROOT / "../shared/data")) / "webshop"
GOLDEN = Path(os.environ.get("HIPER_GOLDEN", ROOT / "../shared/golden")) / "webshop_episodes.json.gz"

NEEDED = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason="no WebShop files: set HIPER_DATA or have ../shared/data"),
    pytest.mark.skipif(not GOLDEN.is_file(), reason="no recordings: set HIPER_GOLDEN or have ../shared/golden"),
]
