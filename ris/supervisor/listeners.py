"""Where a service listens: reading `HOST:PORT`, refusing clear text on a network, naming who holds a port."""

import ipaddress
import os
import socket
from pathlib import Path
from typing import NamedTuple

from ris.environment import env_bool
from ris.supervisor.errors import CannotStart


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def read_address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65536):
        raise CannotStart(f"{text!r} is not an address; write HOST:PORT, such as 127.0.0.1:8000.")
    return Address(host, int(port))


def own_address(name: str, text: str) -> Address:
    """Where a service that runs alone is to listen; CannotStart when it may not or cannot."""
    address = read_address(text)
    refuse_clear_text(name, address)
    refuse_taken("--listen", address)
    return address


def refuse_clear_text(name: str, address: Address) -> None:
    """In production only loopback may go without TLS, or what `RIS_ALLOW_PLAIN` names (`mllp,dicom`).

    `RIS_TLS=1` says that a proxy in front of the web speaks TLS; `mllps` and `dicom-tls` speak it
    themselves.
    """
    if name in ("mllps", "dicom-tls") or address.is_loopback:
        return
    if os.environ.get("RIS_ENV", "production") != "production":
        return
    exceptions = os.environ.get("RIS_ALLOW_PLAIN", "").replace(" ", "").split(",")
    if name in exceptions or (name == "http" and env_bool("RIS_TLS")):
        return
    behind = "RIS_TLS=1 when a TLS proxy stands in front, or " if name == "http" else ""
    raise CannotStart(
        f"{name} would listen on {address} without TLS; listen on 127.0.0.1, "
        f"or set {behind}RIS_ALLOW_PLAIN={name} to accept clear text on that network."
    )


def refuse_taken(option: str, address: Address) -> None:
    """Raise CannotStart, naming the process, when `address` cannot be bound."""
    if address.port == 0:
        return
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            probe.listen(1)
    except PermissionError:
        raise CannotStart(
            f"No permission to listen on {address}; choose a port above 1023 with {option}."
        ) from None
    except OSError as problem:
        holder = port_holder(address.port)
        if holder:
            raise CannotStart(
                f"{address} is taken by {holder}; stop it or choose another port with {option}."
            ) from None
        raise CannotStart(f"Cannot listen on {address} ({option}): {problem.strerror}.") from None


def port_holder(port: int) -> str:
    """The process that listens on `port` of this machine, as far as we may look."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:  # 0A: LISTEN
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return ""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(link) in inodes for link in (process / "fd").iterdir()):
                words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
                name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
                command = next((f"{name} {word}" for word in words if word.startswith("run_")), name)
                return f"{command} (process {process.name})"
        except OSError:
            continue  # gone meanwhile, or another user's
    return "a process of another user"
