"""Modality Performed Procedure Step: N-CREATE and N-SET (PS3.4 F.7.2, RAD-6 and RAD-7).

The bytes are stored before they are read. What the record cannot place is accepted and left to a person:
acquisition data is never refused for what it says, only for breaking the SOP class.
"""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import partial
from zoneinfo import ZoneInfo

from django.conf import settings

from interfaces.dicom.association import Request
from interfaces.dicom.charsets import UnknownCharacterSet
from interfaces.dicom.database import Database
from interfaces.dicom.elements import (
    EXPLICIT_LITTLE_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
    BadDataSet,
    DataSet,
    read,
)
from interfaces.dicom.jsonmodel import JsonModel, json_model
from interfaces.dicom.status import (
    DUPLICATE_INSTANCE,
    INVALID_ATTRIBUTE_VALUE,
    INVALID_OBJECT_INSTANCE,
    MAY_NO_LONGER_BE_UPDATED,
    MISSING_ATTRIBUTE,
    MISSING_ATTRIBUTE_VALUE,
    NO_SUCH_ATTRIBUTE,
    NO_SUCH_INSTANCE,
    PROCESSING_FAILURE,
    SUCCESS,
    Refused,
)
from interfaces.models import ReceivedDataset
from ris.accounts.models import system_user
from ris.audit.trail import record_access, working_for
from ris.core.errors import Duplicate, IllegalTransition, NotFound, RisError
from ris.core.identifiers import new_uid
from ris.department.models import Facility, Station
from ris.exams import actions as exams
from ris.exams.actions import NewPerformedStep, PerformedChange, ScheduledReference
from ris.exams.models import PerformedProcedureStep

log = logging.getLogger("lightbox.dicom")

SOP_CLASS = "1.2.840.10008.3.1.2.3.3"
DATA_SET_CAP = 16_777_216

IN_PROGRESS, COMPLETED, DISCONTINUED = "IN PROGRESS", "COMPLETED", "DISCONTINUED"

_STUDY_INSTANCE_UID = 0x0020000D
_ACCESSION_NUMBER = 0x00080050
_REQUESTED_PROCEDURE_ID = 0x00401001
_STEP_ID = 0x00400009
_MODALITY = 0x00080060
_PATIENT_NAME, _PATIENT_ID = 0x00100010, 0x00100020
_TIMEZONE_OFFSET = 0x00080201
_STATION_AE_TITLE = 0x00400241
_START_DATE, _START_TIME = 0x00400244, 0x00400245
_END_DATE, _END_TIME = 0x00400250, 0x00400251
_STATUS = 0x00400252
_PERFORMED_STEP_ID = 0x00400253
_SCHEDULED_STEPS = 0x00400270
_COMMENTS = 0x00400280
_DISCONTINUATION = 0x00400281
_CODE_VALUE = 0x00080100
_SERIES = 0x00400340
_PROTOCOL_NAME = 0x00181030
_SERIES_INSTANCE_UID = 0x0020000E
_IMAGES, _NON_IMAGES = 0x00081140, 0x00400220

#: Type 1 in an N-CREATE (PS3.4 table F.7.2-1).
NEEDED = (
    _MODALITY, _STATION_AE_TITLE, _START_DATE, _START_TIME, _STATUS, _PERFORMED_STEP_ID, _SCHEDULED_STEPS,
)  # fmt: skip
#: Not allowed in an N-SET (the same table): they belong to the creation.
ONLY_CREATED = frozenset({
    0x00080051, _MODALITY, 0x00081120, _PATIENT_NAME, _PATIENT_ID, 0x00100021, 0x00100024, 0x00100030, 0x00100040,
    0x00101002, 0x00200010, 0x00380010, _STATION_AE_TITLE, 0x00400242, 0x00400243, _START_DATE, _START_TIME,
    _PERFORMED_STEP_ID, _SCHEDULED_STEPS,
})  # fmt: skip


class PerformedSteps:
    """The SCP: role and context come negotiated, the record's verbs do the work."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, request: Request) -> None:
        # The SCP names the instance when the SCU has not (PS3.7 10.1.5.1.4).
        uid = request.command.sop_instance or new_uid()
        await self._take(request, "N-CREATE", uid)

    async def set(self, request: Request) -> None:
        await self._take(request, "N-SET", request.command.sop_instance)

    async def _take(self, request: Request, operation: str, uid: str) -> None:
        if not re.fullmatch(r"[0-9.]{1,64}", uid):
            raise Refused(INVALID_OBJECT_INSTANCE, "The SOP Instance UID is no UID.")
        await self._database.write(partial(_keep, request, operation, uid))
        await self._database.write(partial(_apply, request, operation, uid))
        await request.send(request.head(SUCCESS, sop_instance=uid))


def _caller(request: Request) -> str:
    return request.assoc.caller.ae_title if request.assoc.caller else ""


def _keep(request: Request, operation: str, uid: str) -> None:
    ReceivedDataset.keep(
        calling_ae_title=_caller(request)[:16],
        peer=request.assoc.peer_address,
        operation=operation,
        sop_class_uid=SOP_CLASS,
        sop_instance_uid=uid,
        transfer_syntax_uid=EXPLICIT_LITTLE_ENDIAN if request.context.explicit else IMPLICIT_LITTLE_ENDIAN,
        raw=request.data_set,
    )


def _apply(request: Request, operation: str, uid: str) -> None:
    """Read, judge, and call the verb. A refusal changes nothing but is in the audit."""
    with working_for(f"{_caller(request)} {request.assoc.peer_address}"):
        try:
            said = _read(request)
            if operation == "N-CREATE":
                _create(said, uid)
            else:
                _set(said, uid)
        except Refused as refusal:
            record_access(
                system_user("dicom"), "performed_step.refused", subject=f"mpps:{uid}"[:120], outcome="refused",
                operation=operation, status=f"{refusal.status:04X}", comment=refusal.comment,
            )  # fmt: skip
            raise


@dataclass(frozen=True)
class _Said:
    """One data set, read; `model` is its whole content in Unicode."""

    data_set: DataSet
    model: JsonModel

    def has(self, tag: int) -> bool:
        return tag in self.data_set

    def items(self, tag: int) -> list[JsonModel]:
        values: list[JsonModel] = self.model.get(f"{tag:08X}", {}).get("Value", [])
        return values if isinstance(self.data_set.get(tag, ("", b""))[1], list) else []

    def text(self, tag: int) -> str:
        return _text(self.model, tag)


def _text(model: JsonModel, tag: int) -> str:
    """The first value as text; of a name its component groups."""
    values = model.get(f"{tag:08X}", {}).get("Value") or [""]
    first = values[0]
    if isinstance(first, dict):
        return "=".join(
            str(first.get(group, "")) for group in ("Alphabetic", "Ideographic", "Phonetic")
        ).rstrip("=")
    return "" if first is None else str(first)


def _read(request: Request) -> _Said:
    try:
        data_set = read(request.data_set, explicit=request.context.explicit)
    except BadDataSet as problem:
        raise Refused(PROCESSING_FAILURE, f"Data set: {problem}.") from None
    try:
        return _Said(data_set, json_model(data_set))
    except (UnknownCharacterSet, UnicodeDecodeError):
        # PS3.4 F.7.2.2.3: text that cannot be brought into one set.
        raise Refused(
            INVALID_ATTRIBUTE_VALUE, "Text is not in the declared character set.", tags=(0x00080005,)
        ) from None


# N-CREATE


def _create(said: _Said, uid: str) -> None:
    _check_created(said)
    station = said.text(_STATION_AE_TITLE)
    started = _moment(said, _START_DATE, _START_TIME, _zone(said, station))
    assert started is not None, "type 1, checked above"
    new = NewPerformedStep(
        sop_instance_uid=uid,
        station_ae_title=station,
        modality=said.text(_MODALITY),
        started_at=started,
        references=tuple(
            ScheduledReference(
                study_instance_uid=_text(item, _STUDY_INSTANCE_UID),
                accession_number=_text(item, _ACCESSION_NUMBER),
                requested_procedure_id=_text(item, _REQUESTED_PROCEDURE_ID),
                step_id=_text(item, _STEP_ID),
            )
            for item in said.items(_SCHEDULED_STEPS)
        ),
        performed_step_id=said.text(_PERFORMED_STEP_ID),
        patient_id=said.text(_PATIENT_ID),
        patient_name=said.text(_PATIENT_NAME),
        attributes=said.model,
    )
    try:
        exams.begin_performed_step(new, by=system_user("dicom"))
    except Duplicate:
        raise Refused(DUPLICATE_INSTANCE, "This performed procedure step exists already.") from None
    except RisError as refusal:
        raise Refused(PROCESSING_FAILURE, f"Not taken: {refusal.code}.") from None


def _check_created(said: _Said) -> None:
    items = said.items(_SCHEDULED_STEPS)
    missing = [tag for tag in NEEDED if not said.has(tag)]
    missing += [_STUDY_INSTANCE_UID] * any(f"{_STUDY_INSTANCE_UID:08X}" not in item for item in items)
    if missing:
        raise Refused(MISSING_ATTRIBUTE, "A type 1 attribute is missing.", tags=tuple(missing))
    empty = [tag for tag in NEEDED if not said.items(tag) and not said.text(tag)]
    empty += [_STUDY_INSTANCE_UID] * any(not _text(item, _STUDY_INSTANCE_UID) for item in items)
    if empty:
        raise Refused(MISSING_ATTRIBUTE_VALUE, "A type 1 attribute is empty.", tags=tuple(empty))
    if said.text(_STATUS) != IN_PROGRESS:
        raise Refused(INVALID_ATTRIBUTE_VALUE, "A step is created IN PROGRESS.", tags=(_STATUS,))


# N-SET


def _set(said: _Said, uid: str) -> None:
    status = said.text(_STATUS) if said.has(_STATUS) else IN_PROGRESS
    not_allowed = tuple(sorted(ONLY_CREATED & said.data_set.keys()))
    if not_allowed:
        raise Refused(NO_SUCH_ATTRIBUTE, "An attribute of the creation cannot be set.", tags=not_allowed)
    if status not in {IN_PROGRESS, COMPLETED, DISCONTINUED}:
        raise Refused(
            INVALID_ATTRIBUTE_VALUE, "Status is IN PROGRESS, COMPLETED or DISCONTINUED.", tags=(_STATUS,)
        )
    verb = {
        IN_PROGRESS: exams.update_performed_step,
        COMPLETED: exams.complete_performed_step,
        DISCONTINUED: exams.discontinue_performed_step,
    }[status]
    try:
        verb(uid, _change(said, uid, status), by=system_user("dicom"))
    except NotFound:
        raise Refused(NO_SUCH_INSTANCE, "No such performed procedure step.") from None
    except IllegalTransition:
        raise Refused(
            PROCESSING_FAILURE,
            "Performed Procedure Step Object may no longer be updated",
            error_id=MAY_NO_LONGER_BE_UPDATED,
        ) from None
    except RisError as refusal:
        raise Refused(PROCESSING_FAILURE, f"Not taken: {refusal.code}.") from None


def _change(said: _Said, uid: str, status: str) -> PerformedChange:
    stored = (
        PerformedProcedureStep.objects.filter(sop_instance_uid=uid)
        .values_list("attributes", flat=True)
        .first()
    )
    known: JsonModel = {**(stored or {}), **said.model}
    series = known.get(f"{_SERIES:08X}", {}).get("Value", [])
    if status == COMPLETED:
        _report_defects(known, series, uid)
    reasons = known.get(f"{_DISCONTINUATION:08X}", {}).get("Value", [])
    return PerformedChange(
        attributes=said.model,
        ended_at=_moment(said, _END_DATE, _END_TIME, _zone(said, _text(known, _STATION_AE_TITLE))),
        series_count=len(series) if series else None,
        image_count=sum(_count(one, _IMAGES) + _count(one, _NON_IMAGES) for one in series)
        if series
        else None,
        discontinuation_code=_text(reasons[0], _CODE_VALUE) if reasons else "",
        comment=said.text(_COMMENTS),
    )


def _count(series: JsonModel, tag: int) -> int:
    return len(series.get(f"{tag:08X}", {}).get("Value", []))


def _report_defects(known: JsonModel, series: Iterable[JsonModel], uid: str) -> None:
    """What a final state must hold (PS3.4 table F.7.2-1) and this modality left out: accepted, but told."""
    defects = [f"{tag:08X}" for tag in (_END_DATE, _END_TIME) if not _text(known, tag)]
    defects += [f"{_SERIES:08X}"] * (not series)
    defects += [
        f"{tag:08X}"
        for tag in (_PROTOCOL_NAME, _SERIES_INSTANCE_UID)
        if any(not _text(one, tag) for one in series)
    ]
    if defects:
        log.warning("performed step %s is completed without %s", uid, ", ".join(defects))


# Times


def _zone(said: _Said, station_ae_title: str) -> tzinfo:
    """The data set's own offset; else the clock of the station's facility."""
    offset = re.fullmatch(r"([+-])(\d\d)(\d\d)", said.text(_TIMEZONE_OFFSET))
    if offset:
        difference = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(-difference if offset[1] == "-" else difference)
    station = Station.objects.filter(ae_title=station_ae_title).select_related("room__facility").first()
    facility = station.room.facility if station else Facility.objects.order_by("pk").first()
    return ZoneInfo(facility.timezone if facility else settings.RIS_FACILITY_TZ)


def _moment(said: _Said, date_tag: int, time_tag: int, zone: tzinfo) -> datetime | None:
    """A DA and a TM as one moment; None without either. Raises Refused (0106) for what is no date or time."""
    day, clock = said.text(date_tag).replace(".", ""), said.text(time_tag).replace(":", "")
    if not (day and clock):
        return None
    digits = clock.partition(".")[0].ljust(6, "0")
    try:
        if not re.fullmatch("[0-9]{14}", day + digits):
            raise ValueError
        return datetime.strptime(day + digits, "%Y%m%d%H%M%S").replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refused(INVALID_ATTRIBUTE_VALUE, "No date or time.", tags=(date_tag, time_tag)) from None
