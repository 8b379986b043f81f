"""`python -m sora_mock.cli.child COMMAND ...`: a command in a child process, which stops when standard input closes.

`serve` prints the token of its control API, as JSON on one line, before the ready line.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Sequence

from sora_mock.cli import commands
from sora_mock.cli.exit_codes import EXIT_USAGE
from sora_mock.cli.serve import run_server
from sora_mock.config.settings import SettingError
from sora_mock.process import MAX_STOP_SECONDS
from sora_mock.runtime.console import complain


def main(arguments: Sequence[str]) -> int:
    """Runs the command; its exit code."""
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    return _serve(arguments[1:]) if arguments[0] == "serve" else commands.main(arguments)


def _stop_with_parent() -> None:
    # the parent writes nothing: reading returns when the last process that holds the other end has ended
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(MAX_STOP_SECONDS)
    os._exit(1)


def _serve(flags: Sequence[str]) -> int:
    commands.exit_on_signals()
    try:
        settings = commands.server_settings(flags)
        print(json.dumps(settings.control_token), flush=True)
        return run_server(settings)
    except SettingError as problem:
        complain(str(problem))
        return EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
