"""What reading costs: an order and a result beside a plain split, and how the cost grows with the message.

python -m bench.parse
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ris.settings")

from interfaces.hl7 import ack, er7
from ris.core.errors import RisError

ORM = "\r".join(
    [
        "MSH|^~\\&|EMR|HOSP|LIGHTBOX|HARBOUR|20260301120000||ORM^O01|T000001|P|2.3.1",
        "PID|||004417268^^^HOSP^MR||OKAFOR^ADAEZE^^^MRS||19680714|F|||1 MAIN ST^^SALEM^MA^01970||5550001111|||||ACC-9",
        "PV1||O|RAD^CT1||||1234^WEAVER^TIMOTHY^P^^DR|5101^NELL^FREDERICK^P^^DR|||||||||||V131-1^^^HOSP",
        "ORC|NW|A1^EMR||G7|||1^once^^20260302090000^^S||20260301115500|^ROSEWOOD^RANDOLPH||7101^ESTRADA^JAIME^P^^DR",
        "OBR|1|A1^EMR||CTHEAD^CT head^L||||||||MRSA|headache since May||Radiology^^^^R^|7101^ESTRADA^JAIME^P^^DR",
        "",
    ]
).encode()
ORU = b"".join(
    [ORM.replace(b"ORM^O01", b"ORU^R01"),
     *(b"OBX|%d|TX|18782-3^Findings^LN||The lungs are clear, and %s.||||||F\r" % (n, b"x" * 40) for n in range(1, 66))]
)  # fmt: skip
#: What ingest asks of every message.
_ORDER = ("PID-3.1", "PID-3.4", "PID-5.1", "PID-5.2", "PID-7", "PID-8", "PID-18", "PV1-2", "PV1-19", "ORC-1", "ORC-2.1",
          "ORC-2.2", "ORC-7.4", "ORC-12.1", "OBR-4.1", "OBR-4.2", "OBR-13")  # fmt: skip


@dataclass(frozen=True)
class Cost:
    what: str
    seconds: float
    beside: float

    @property
    def line(self) -> str:
        ratio = f"{self.seconds / self.beside:>8.1f}x" if self.beside else ""
        return f"{self.what:<44} {self.seconds * 1e6:>12.1f} us {self.beside * 1e6:>12.1f} us {ratio}"


def costs() -> list[Cost]:
    """Each reading, and beside it the split into fields that does nothing else."""
    found = [
        Cost("ORM, what ingest asks", best(lambda: order(ORM)), best(lambda: split(ORM))),
        Cost("ORU of 7.5 kB, every OBX-5", best(lambda: result(ORU)), best(lambda: split(ORU))),
    ]
    for what, raw in wide().items():
        found.append(Cost(what, best(partial(refused_or_read, raw), 3), best(partial(split, raw), 3)))
    return found


def wide() -> dict[str, bytes]:
    """Shapes that cost some readers the square of their length."""

    def pid(text: bytes) -> bytes:
        return ORM.replace(b"OKAFOR", text)

    document = b"A" * 1_000_000
    return {
        "1 MB in OBX": ORM + b"OBX|1|ED|PDF||^AP^PDF^Base64^" + document + b"\r",
        "25 MB in OBX": ORM + b"OBX|1|ED|PDF||^AP^PDF^Base64^" + document * 24 + b"\r",
        "1 MB of OBX segments": ORM + b"OBX|1|TX|18782-3^Findings^LN||%s\r" % (b"x" * 220) * 4_000,
        "100 kB of ^": pid(b"^" * 100_000),
        "1 MB of ~": pid(b"~" * 1_000_000),
        "1 MB of &": pid(b"&" * 1_000_000),
        "1 MB of |": pid(b"|" * 1_000_000),
        "1 MB of escape marks": pid(b"\\" * 1_000_000),
        "1 MB of \\.br\\": pid(b"\\.br\\" * 200_000),
        "20,000 segments": ORM + b"NTE|1||x\r" * 20_000,
    }


def order(raw: bytes) -> list[str]:
    message = er7.read(raw)
    ack.header_of(raw, message)
    message.check_shape()
    return [message.get(path) for path in _ORDER]


def result(raw: bytes) -> list[str]:
    message = er7.read(raw)
    ack.header_of(raw, message)
    message.check_shape()
    return [obx.get(5) for obx in message.all("OBX")]


def refused_or_read(raw: bytes) -> object:
    try:
        return order(raw), result(raw)
    except RisError as error:
        return error


def split(raw: bytes) -> list[list[str]]:
    return [line.split("|") for line in raw.decode().split("\r")]


def best(work: Callable[[], object], rounds: int = 200) -> float:
    """Seconds of the quickest of several rounds: what the machine does besides only adds."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times)


if __name__ == "__main__":
    for cost in costs():
        sys.stdout.write(f"{cost.line}\n")
