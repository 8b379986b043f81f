"""Schemathesis' own command line, with its default checks and our contract, finds nothing."""

import subprocess
import sys
from pathlib import Path

from sora_mock.runtime.package_data import data_folder
from sora_mock.server import MockServer


def test_schemathesis_finds_nothing_in_200_examples_with_the_stateful_phase(tmp_path: Path) -> None:
    with MockServer(port=0, credits="unlimited", seed=1) as server:
        command = [sys.executable, "-m", "schemathesis.cli", "run", str(data_folder("openapi") / "openapi.json")]
        command += ["--url", server.url, "--header", "Authorization: Bearer sk-schemathesis"]
        command += ["--max-examples", "200", "--seed", "1", "--generation-database", "none"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "Stateful" in done.stdout
