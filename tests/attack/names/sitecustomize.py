"""Python imports this in the servers under attack, so that they look up no name outside.

Look-ups of names with `hang` never end, names with `good` lead to loopback, others do not exist.
"""

import socket
import threading
from ipaddress import ip_address
from typing import Any

_system = socket.getaddrinfo


def _getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
    name = host.decode() if isinstance(host, bytes) else host
    if name is not None and name != "localhost":
        if "hang" in name:
            threading.Event().wait()
        if "good" in name:
            name = "127.0.0.1"
        try:
            ip_address(name)
        except ValueError:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
    return _system(name, port, *args, **kwargs)


socket.getaddrinfo = _getaddrinfo
