"""The documents that are made from something are current."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_page_of_scenarios_is_made_from_the_catalogue_as_it_is() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "make-docs", "--check"], check=False)
    assert done.returncode == 0, "run scripts/make-docs"
