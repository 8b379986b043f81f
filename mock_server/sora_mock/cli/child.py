"""`python -m sora_mock.cli.child COMMAND ...`: a command in a child process, which stops when standard input closes.

`serve` prints the token of its control API, as JSON on one line, before the ready line.
"""

import os
import signal
import sys
import threading

from sora_mock.cli.commands import main
from sora_mock.process import MAX_STOP_SECONDS


def stop_with_parent() -> None:
    """Ends this process when its parent has ended."""
    # the parent writes nothing: reading returns when the last process that holds the other end has ended
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(MAX_STOP_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    if hasattr(signal, "pthread_sigmask"):
        # a parent may have blocked them, which this process inherits
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    threading.Thread(target=stop_with_parent, daemon=True).start()
    sys.exit(main(sys.argv[1:], is_child=True))
