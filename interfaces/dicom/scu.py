"""One association to a partner, with us as its user: what goes out, and what is asked (PS3.7, PS3.8)."""

import logging
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from types import TracebackType
from typing import Any, Self

from django.conf import settings
from pydicom import config, dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    KeyObjectSelectionDocumentStorage,
)
from pynetdicom import AE, evt

from interfaces.dicom.status import (
    DUPLICATE_INSTANCE,
    MAY_NO_LONGER_BE_UPDATED,
    PROCESSING_FAILURE,
    RESOURCE_LIMITATION,
    SUCCESS,
)
from interfaces.models import Endpoint

log = logging.getLogger("lightbox.dicom")

# Told of an odd value pydicom would quote it, in the log: it may be a patient's.
config.settings.reading_validation_mode = config.settings.writing_validation_mode = config.IGNORE

CONNECT_SECONDS = 5.0
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
VERIFICATION = "1.2.840.10008.1.1"
COMMITMENT = "1.2.840.10008.1.20.1"
#: The well-known instance that commitment is asked of (PS3.4 J.3.5).
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
_REQUEST_COMMITMENT = 1

_BOTH = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))

C_STORE, N_CREATE, N_SET, N_ACTION = "C-STORE", "N-CREATE", "N-SET", "N-ACTION"


class Unreachable(Exception):
    """No association, or no answer; the text says why and names no patient."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How the partner answered one operation; `code` is the status in hex."""

    code: str
    text: str
    accepted: bool
    #: The partner is busy; nobody needs to look.
    transient: bool = False


def envelope(data_set: bytes, sop_class: str, instance: str, transfer_syntax: str) -> bytes:
    """A data set as it came, with what has to be known to send it again in front, as a file has it (PS3.10)."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(sop_class), UID(instance)
    meta.TransferSyntaxUID = UID(transfer_syntax)
    meta.ImplementationClassUID, meta.ImplementationVersionName = UID(_IMPLEMENTATION), "LIGHTBOX_1"
    out = DicomBytesIO()
    out.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(out, meta, enforce_standard=True)
    return out.getvalue() + data_set


def encoded(ds: Dataset, *, implicit: bool = False) -> bytes:
    """In little endian."""
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, implicit
    write_dataset(out, ds)
    return out.getvalue()


_IMPLEMENTATION = "2.25.164569580931331999422803590479679562966"


def opened(raw: bytes) -> Dataset:
    """The data set of an envelope or a file; its values are read when they are asked for."""
    return dcmread(BytesIO(raw))


class Line:
    """An association, open between `with` and its end. Raises Unreachable."""

    def __init__(
        self, endpoint: Endpoint, contexts: list[tuple[str, str]], *, seconds: float | None = None,
        on_commitment: Callable[[Dataset], None] | None = None,
    ) -> None:  # fmt: skip
        """`contexts`: (SOP class, transfer syntax) of all that will be sent; the other one of the two that everybody
        has is offered behind it."""
        self.endpoint = endpoint
        self.awaited = 0
        host, _, port = endpoint.address.rpartition(":")
        limit = float(endpoint.answer_timeout) if seconds is None else seconds
        entity = AE(ae_title=settings.RIS_AE_TITLE)
        entity.connection_timeout = min(CONNECT_SECONDS, limit)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = limit
        self._proposed = dict(reversed(contexts or [(VERIFICATION, _BOTH[0])]))
        for sop_class, first in self._proposed.items():
            entity.add_requested_context(sop_class, [first, *(one for one in _BOTH if one != first)])
        handlers: list[Any] = []
        if on_commitment is not None:
            handlers = [(evt.EVT_N_EVENT_REPORT, self._reported, [on_commitment])]
        try:
            self._assoc = entity.associate(
                host, int(port), ae_title=endpoint.ae_title, max_pdu=0, evt_handlers=handlers,
                tls_args=(_tls_context(), host) if endpoint.tls else None,
            )  # fmt: skip
        except (OSError, ValueError) as problem:
            raise Unreachable(f"Cannot connect to {endpoint.address}: {problem}") from None
        if not self._assoc.is_established:
            raise Unreachable(self._why_not())

    def _why_not(self) -> str:
        where = f"{self.endpoint.ae_title} at {self.endpoint.address}"
        if self._assoc.is_rejected:
            primitive = self._assoc.acceptor.primitive
            why = {3: "it does not know our AE title", 7: "it has another AE title"}.get(
                getattr(primitive, "diagnostic", 0) or 0, "it takes no associations now"
            )
            return f"{where} refused the association: {why}"
        return f"No association with {where}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._assoc.is_established:
            self._assoc.release()

    @property
    def is_open(self) -> bool:
        return bool(self._assoc.is_established)

    def _reported(self, event: Any, on_commitment: Callable[[Dataset], None]) -> tuple[int, None]:
        self.awaited -= 1
        on_commitment(event.event_information)
        return SUCCESS, None

    def proposed(self, sop_class: str, transfer_syntax: str) -> bool:
        """Whether such a data set goes out as it is."""
        return self._proposed.get(sop_class) == transfer_syntax

    def takes(self, sop_class: str) -> bool:
        return any(one.abstract_syntax == sop_class for one in self._assoc.accepted_contexts)

    def send(self, operation: str, raw: bytes, *, again: bool = False) -> Answer:
        """One operation with a stored data set. Raises Unreachable when no answer comes.

        `again`: it may have arrived before, so that "I have it" is a yes.
        """
        ds = opened(raw)
        meta = ds.file_meta
        sop_class, instance = str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID)
        if not self.takes(sop_class):
            return Answer("0122", f"It does not take {UID(sop_class).name}.", accepted=False)
        try:
            status = self._perform(operation, ds, sop_class, instance)
        except RuntimeError:
            # The association ended since it was last looked at.
            raise Unreachable(f"{self.endpoint.ae_title} ended the association") from None
        if not status or "Status" not in status:
            raise Unreachable(f"{self.endpoint.ae_title} took the message but did not answer")
        return _judged(operation, status, again=again)

    def _perform(self, operation: str, ds: Dataset, sop_class: str, instance: str) -> Dataset:
        """The status that came back; empty when none did."""
        if operation == C_STORE:
            return self._assoc.send_c_store(ds)
        if operation == N_CREATE:
            return self._assoc.send_n_create(ds, sop_class, instance)[0]
        if operation == N_SET:
            return self._assoc.send_n_set(ds, sop_class, instance)[0]
        status, _ = self._assoc.send_n_action(ds, _REQUEST_COMMITMENT, sop_class, instance)
        self.awaited += bool(status and status.get("Status") == SUCCESS)
        return status

    def echo(self) -> None:
        """Verification (PS3.4 A). Raises Unreachable."""
        if not self._assoc.send_c_echo():
            raise Unreachable(f"{self.endpoint.ae_title} did not answer")

    def find(self, identifier: Dataset) -> Iterator[Dataset]:
        """The matches of a Study Root C-FIND. Raises Unreachable, also for a failure status."""
        if not self.takes(STUDY_ROOT_FIND):
            raise Unreachable(f"{self.endpoint.name} answers no questions about studies.")
        for status, match in self._assoc.send_c_find(identifier, STUDY_ROOT_FIND):
            if not status or "Status" not in status:
                raise Unreachable(f"{self.endpoint.name} did not answer.")
            if status.Status in (0xFF00, 0xFF01):
                if match is not None:
                    yield match
            elif status.Status != SUCCESS:
                raise Unreachable(f"{self.endpoint.name} could not answer (status {status.Status:04X}).")


#: What an archive says when it has no room or no time just now: C-STORE A7xx, and 0213.
_BUSY = range(0xA700, 0xA800)
_WARNINGS = range(0xB000, 0xC000)
_ATTRIBUTE_WARNINGS = (0x0001, 0x0107, 0x0116)


def _judged(operation: str, status: Dataset, *, again: bool) -> Answer:
    code = int(status.Status)
    text = str(status.get("ErrorComment", "") or "")
    shown = f"{code:04X}"
    if code == SUCCESS or code in _WARNINGS or code in _ATTRIBUTE_WARNINGS:
        return Answer(shown, text, accepted=True)
    if operation == N_CREATE and code == DUPLICATE_INSTANCE:
        return Answer(shown, "It has this performed step already.", accepted=True)
    final = code == PROCESSING_FAILURE and status.get("ErrorID") == MAY_NO_LONGER_BE_UPDATED
    if again and operation == N_SET and final:
        return Answer(shown, "It had taken the final state before.", accepted=True)
    busy = code == RESOURCE_LIMITATION or (operation == C_STORE and code in _BUSY)
    return Answer(
        shown, text or _MEANINGS.get(code, f"Status {shown}"), accepted=False, transient=busy
    )  # fmt: skip


_MEANINGS = {
    0x0105: "No such attribute",
    0x0106: "An attribute has a value it does not take",
    0x0110: "It could not process it",
    0x0111: "It has an object of this UID already",
    0x0112: "It does not know the performed step",
    0x0120: "An attribute is missing",
    0x0121: "An attribute has no value",
    0x0122: "It does not take this kind of object",
    0x0124: "It does not allow us to",
    0x0213: "It has no room now",
    0xA700: "It has no room now",
    0xA900: "The object is not what its class says",
    0xC000: "It cannot understand the object",
}


def contexts_of(raw: bytes) -> tuple[str, str]:
    """What has to be negotiated to send these bytes as they are."""
    meta = opened(raw).file_meta
    return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)


#: The objects we make; proposed with every association, so that one serves a whole queue.
USUAL_CONTEXTS = [
    (str(BasicTextSRStorage), _BOTH[0]),
    (str(EncapsulatedPDFStorage), _BOTH[0]),
    (str(KeyObjectSelectionDocumentStorage), _BOTH[0]),
    (COMMITMENT, _BOTH[1]),
]
FIND_CONTEXTS = [(STUDY_ROOT_FIND, _BOTH[0])]


def _tls_context() -> ssl.SSLContext:
    """Certificates on both sides (BCP 195, ITI-19). Raises OSError for files that cannot be used."""
    context = ssl.create_default_context(cafile=settings.RIS_TLS_CA or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.RIS_TLS_CERTIFICATE:
        context.load_cert_chain(settings.RIS_TLS_CERTIFICATE, settings.RIS_TLS_KEY or None)
    return context
