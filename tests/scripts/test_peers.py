"""bench/peers.py where there is no Node: it says so and compares with the bare application."""

import subprocess
import sys
from pathlib import Path

PEERS = Path(__file__).resolve().parents[2] / "bench" / "peers.py"


def test_without_node_the_bare_application_alone_is_compared(tmp_path: Path) -> None:
    command = [sys.executable, str(PEERS), "--rounds", "0", "--starts", "1"]
    # an empty folder is the whole search path: no node, no npm, no wrk
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Node and npm are missing" in done.stdout
    table = [line.split()[0] for line in done.stdout.splitlines() if "not measured" in line]
    assert table == ["bare", "sora-mock"]
