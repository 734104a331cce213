"""Modalities: DCMTK's programs, pynetdicom, and plain sockets for what neither would ever send."""

import socket
import struct
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_role
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    ModalityPerformedProcedureStep,
    ModalityWorklistInformationFind,
    Verification,
)

TITLE = "LIGHTBOX"
WORKLIST = ModalityWorklistInformationFind
MPPS = ModalityPerformedProcedureStep
STEP = "ScheduledProcedureStepSequence[0]"


@dataclass
class Ris:
    """Where the services under test answer."""

    host: str
    port: int

    def echoscu(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/usr/bin/echoscu", "-aec", TITLE, *options, self.host, str(self.port)],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip

    def findscu(self, directory: Path, *keys: str, options: Iterable[str] = ()) -> list[Dataset]:
        """What DCMTK's findscu extracts; keys as it takes them, "PatientName=DOE*"."""
        for old in directory.glob("rsp*.dcm"):
            old.unlink()
        words = [word for key in keys for word in ("-k", key)]
        subprocess.run(
            ["/usr/bin/findscu", "-W", "-X", "-aec", TITLE, "-od", str(directory), *options, *words,
             self.host, str(self.port)],
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
        return [dcmread(path) for path in sorted(directory.glob("rsp*.dcm"))]

    @contextmanager
    def associate(
        self, *classes: str, calling: str = "CT1", called: str = TITLE, explicit: bool = False, **more: Any
    ) -> Iterator[Association]:
        ae = AE(calling)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
        syntax = ExplicitVRLittleEndian if explicit else ImplicitVRLittleEndian
        for sop_class in classes or (WORKLIST, Verification, MPPS):
            ae.add_requested_context(sop_class, syntax)
        assoc = ae.associate(self.host, self.port, ae_title=called, **more)
        try:
            yield assoc
        finally:
            if assoc.is_established:
                assoc.release()

    def find(self, identifier: Dataset, **how: Any) -> "Found":
        """One C-FIND by pynetdicom."""
        with self.associate(WORKLIST, **how) as assoc:
            assert assoc.is_established
            return found(assoc, identifier)


@dataclass
class Found:
    matches: list[Dataset]
    #: Of the pending responses, and the final one.
    pending: set[int]
    status: int
    comment: str = ""

    def values(self, keyword: str) -> list[str]:
        return [str(one.get(keyword, "")) for one in self.matches]

    @property
    def accessions(self) -> list[str]:
        return self.values("AccessionNumber")


def found(assoc: Association, identifier: Dataset) -> Found:
    result = Found([], set(), -1)
    for status, match in assoc.send_c_find(identifier, WORKLIST):
        if "Status" not in status:
            continue
        if status.Status in {0xFF00, 0xFF01}:
            assert match is not None
            result.matches.append(match)
            result.pending.add(status.Status)
        else:
            result.status = status.Status
            result.comment = str(status.get("ErrorComment", ""))
    return result


def query(step: dict[str, Any] | None = None, **keys: Any) -> Dataset:
    """An identifier; `step` are the keys inside the Scheduled Procedure Step Sequence."""
    identifier = Dataset()
    identifier.AccessionNumber = ""
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    item = Dataset()
    for keyword, value in (step if step is not None else {"ScheduledProcedureStepID": ""}).items():
        setattr(item, keyword, value)
    identifier.ScheduledProcedureStepSequence = [item]
    return identifier


def mpps_role() -> Any:
    return build_role(MPPS, scu_role=True)


class Raw:
    """A peer that sends what it likes."""

    def __init__(self, ris: Ris) -> None:
        self.socket = socket.create_connection((ris.host, ris.port), timeout=10)

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> tuple[int, bytes]:
        """(type, body) of the next protocol data unit; (0, b"") when the connection has ended."""
        header = self._exactly(6)
        if len(header) < 6:
            return 0, b""
        return header[0], self._exactly(int.from_bytes(header[2:6], "big"))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                more = self.socket.recv(size - len(data))
            except ConnectionResetError:
                return data
            if not more:
                return data
            data += more
        return data


def item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def associate_rq(
    *,
    called: bytes = TITLE.encode(),
    calling: bytes = b"CT1",
    contexts: Iterable[tuple[int, str]] = ((1, str(WORKLIST)),),
    version: int = 1,
    application: bytes = b"1.2.840.10008.3.1.1.1",
    user: bytes | None = None,
) -> bytes:
    proposed = b"".join(
        item(0x20, bytes((number, 0, 0, 0)) + item(0x30, uid.encode()) + item(0x40, b"1.2.840.10008.1.2"))
        for number, uid in contexts
    )
    if user is None:
        user = item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3.4")
    body = (
        struct.pack(">HH", version, 0) + called.ljust(16) + calling.ljust(16) + bytes(32)
        + item(0x10, application) + proposed + item(0x50, user)
    )  # fmt: skip
    return struct.pack(">BBI", 1, 0, len(body)) + body
