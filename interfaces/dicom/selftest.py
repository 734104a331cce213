"""Trying it for real: an association to our own services as one of the machines, and one to the machine itself."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association

from interfaces.dicom.status import SUCCESS
from interfaces.dicom.twins import OURSELVES
from interfaces.models import StationTwin
from ris.department.models import Station

_VERIFICATION = "1.2.840.10008.1.1"
_WORKLIST = "1.2.840.10008.5.1.4.31"
_SECONDS = 5.0
_MOST_SHOWN = 200


@dataclass(frozen=True)
class Tried:
    """What came of it, in words and milliseconds."""

    worked: bool
    words: str
    ms: int = 0
    accessions: list[str] = field(default_factory=list)


def own_address() -> tuple[str, int] | None:
    """Where our services said last that they answer."""
    twin = StationTwin.objects.filter(ae_title=settings.RIS_AE_TITLE).first()
    if twin is None or not twin.addresses:
        return None
    host, _, port = max(twin.addresses, key=lambda one: twin.addresses[one]).rpartition(":")
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), int(port)


def echo_as(station: Station) -> Tried:
    """C-ECHO to ourselves under the machine's AE title, as its own would come."""
    return _at_ours(station, _VERIFICATION, lambda assoc: _echoed(assoc, "Our services answer it"))


def find_as(station: Station, identifier: Dataset) -> Tried:
    """C-FIND to ourselves as the machine asks it."""

    def find(assoc: Association) -> Tried:
        found: list[str] = []
        last = None
        for status, match in assoc.send_c_find(identifier, _WORKLIST):
            last = status.get("Status") if status else None
            if match is not None and len(found) < _MOST_SHOWN:
                found.append(str(match.get("AccessionNumber", "") or "without a number"))
        if last != SUCCESS:
            said = "no answer came" if last is None else f"status {last:04X}"
            return Tried(False, f"The query was not answered in full: {said}")
        return Tried(True, f"{len(found)} match{'' if len(found) == 1 else 'es'}", accessions=found)

    return _at_ours(station, _WORKLIST, find)


def echo_to(station: Station) -> Tried:
    """C-ECHO to the machine, where it says it can be reached."""
    if not station.host or not station.port:
        return Tried(False, f"{station} has no host and port in its settings")
    entity = _entity(settings.RIS_AE_TITLE)
    where = f"{station} at {station.host}:{station.port}"
    return _try(
        entity, station.host, station.port, station.ae_title, _VERIFICATION, where,
        lambda assoc: _echoed(assoc, f"{where} answers"),
    )  # fmt: skip


def _at_ours(station: Station, sop_class: str, act: Callable[[Association], Tried]) -> Tried:
    address = own_address()
    if address is None:
        return Tried(False, "Our DICOM services have not been started yet")
    return _try(
        _entity(station.ae_title), *address, settings.RIS_AE_TITLE, sop_class, "Our DICOM services", act
    )


def _entity(title: str) -> AE:
    entity = AE(ae_title=title)
    entity.implementation_version_name = OURSELVES
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _SECONDS
    return entity


def _try(
    entity: AE, host: str, port: int, called: str, sop_class: str, who: str, act: Callable[[Association], Tried]
) -> Tried:  # fmt: skip
    entity.add_requested_context(sop_class, [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
    began = time.perf_counter()
    try:
        assoc = entity.associate(host, port, ae_title=called)
    except (OSError, ValueError) as problem:
        return Tried(False, f"{who} cannot be reached: {problem}", _since(began))
    if not assoc.is_established:
        return Tried(False, f"{who} {_why_not(assoc)}", _since(began))
    try:
        if not assoc.accepted_contexts:
            return Tried(False, f"{who} do not offer this service", _since(began))
        result = act(assoc)
    finally:
        if assoc.is_established:
            assoc.release()
    return Tried(result.worked, result.words, _since(began), result.accessions)


def _why_not(assoc: Association) -> str:
    primitive: Any = assoc.acceptor.primitive if assoc.is_rejected else None
    why = {3: "does not know the calling AE title, its address or certificate", 7: "has another AE title"}
    if primitive is not None:
        return why.get(getattr(primitive, "diagnostic", 0) or 0, "refused the association")
    return "cannot be reached"


def _echoed(assoc: Association, words: str) -> Tried:
    status = assoc.send_c_echo()
    if status and status.get("Status") == SUCCESS:
        return Tried(True, words)
    return Tried(False, "The association was made, and C-ECHO was not answered")


def _since(began: float) -> int:
    return round((time.perf_counter() - began) * 1000)
