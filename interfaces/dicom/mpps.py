"""Modality Performed Procedure Step: N-CREATE and N-SET (PS3.4 F.7.2, RAD-6 and RAD-7), and N-GET (F.8.2).

The bytes are stored before they are read. What the record cannot place is accepted and left to a person:
acquisition data is never refused for what it says, only for breaking the SOP class.
"""

import logging
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import partial
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

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
from interfaces.dicom.queue import forward_step
from interfaces.dicom.status import (
    DUPLICATE_INSTANCE,
    INVALID_ATTRIBUTE_VALUE,
    INVALID_OBJECT_INSTANCE,
    MAY_NO_LONGER_BE_UPDATED,
    MISSING_ATTRIBUTE,
    MISSING_ATTRIBUTE_VALUE,
    NO_SUCH_ATTRIBUTE,
    NO_SUCH_INSTANCE,
    OPTIONAL_NOT_SUPPORTED,
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
RETRIEVE_SOP_CLASS = "1.2.840.10008.3.1.2.3.4"
DATA_SET_CAP = 16_777_216

IN_PROGRESS, COMPLETED, DISCONTINUED = "IN PROGRESS", "COMPLETED", "DISCONTINUED"

_STUDY_INSTANCE_UID = 0x0020000D
_ACCESSION_NUMBER = 0x00080050
_REQUESTED_PROCEDURE_ID = 0x00401001
_STEP_ID = 0x00400009
_MODALITY = 0x00080060
_PATIENT_NAME, _PATIENT_ID, _ISSUER, _BIRTH_DATE = 0x00100010, 0x00100020, 0x00100021, 0x00100030
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

    async def get(self, request: Request) -> None:
        """What was said of a step so far; without an Attribute Identifier List all of it."""
        uid, tags = request.command.sop_instance, request.command.tags
        model = await self._database.write(partial(_known, request, uid))
        wanted = {key: one for key, one in model.items() if not tags or int(key, 16) in tags}
        unknown = tuple(tag for tag in tags if f"{tag:08X}" not in model)
        head = request.head(
            OPTIONAL_NOT_SUPPORTED if unknown else SUCCESS, with_data_set=True, sop_instance=uid, tags=unknown
        )
        await request.send(head + request.answer(_encoded(wanted, explicit=request.context.explicit)))

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
        transfer_syntax_uid=_transfer_syntax(request),
        raw=request.data_set,
    )


def _transfer_syntax(request: Request) -> str:
    return EXPLICIT_LITTLE_ENDIAN if request.context.explicit else IMPLICIT_LITTLE_ENDIAN


def _apply(request: Request, operation: str, uid: str) -> None:
    """Read, judge, and call the verb. A refusal changes nothing but is in the audit."""
    with working_for(f"{_caller(request)} {request.assoc.peer_address}"):
        try:
            said = _read(request)
            with transaction.atomic():
                if operation == "N-CREATE":
                    _create(said, uid)
                else:
                    _set(said, uid)
                forward_step(operation, SOP_CLASS, uid, _transfer_syntax(request), request.data_set)
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


def check_creation(request: Request) -> None:
    """What refuses an N-CREATE without a look at the record: while there is none."""
    _check_uid(request)
    _check_created(_read(request))


def check_change(request: Request) -> None:
    """The same of an N-SET."""
    _check_uid(request)
    _status_set(_read(request))


def _check_uid(request: Request) -> None:
    if not re.fullmatch(r"[0-9.]{1,64}", request.command.sop_instance):
        raise Refused(INVALID_OBJECT_INSTANCE, "The SOP Instance UID is no UID.")


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
        patient_id_issuer=said.text(_ISSUER),
        patient_name=said.text(_PATIENT_NAME),
        birth_date=_day(said.text(_BIRTH_DATE)),
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


def _day(text: str) -> date | None:
    """A birth date that is one; modalities write what they were told."""
    try:
        return datetime.strptime(text.replace(".", ""), "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


# N-SET

_VERBS = {
    IN_PROGRESS: exams.update_performed_step,
    COMPLETED: exams.complete_performed_step,
    DISCONTINUED: exams.discontinue_performed_step,
}


def _status_set(said: _Said) -> str:
    not_allowed = tuple(sorted(ONLY_CREATED & said.data_set.keys()))
    if not_allowed:
        raise Refused(NO_SUCH_ATTRIBUTE, "An attribute of the creation cannot be set.", tags=not_allowed)
    status = said.text(_STATUS) if said.has(_STATUS) else IN_PROGRESS
    if status not in _VERBS:
        raise Refused(
            INVALID_ATTRIBUTE_VALUE, "Status is IN PROGRESS, COMPLETED or DISCONTINUED.", tags=(_STATUS,)
        )
    return status


def _set(said: _Said, uid: str) -> None:
    status = _status_set(said)
    try:
        _VERBS[status](uid, _change(said, uid, status), by=system_user("dicom"))
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
    step = PerformedProcedureStep.objects.filter(sop_instance_uid=uid).first()
    known: JsonModel = {**(step.attributes if step else {}), **said.model}
    reasons = known.get(f"{_DISCONTINUATION:08X}", {}).get("Value", [])
    station = _text(known, _STATION_AE_TITLE)
    return PerformedChange(
        attributes=said.model,
        ended_at=_moment(said, _END_DATE, _END_TIME, _zone(said, station)),
        discontinuation_code=_text(reasons[0], _CODE_VALUE) if reasons else "",
        comment=said.text(_COMMENTS),
        defects=_defects(said, known, step, status) if step and not step.flow.is_final(step.status) else (),
    )


def _defects(said: _Said, known: JsonModel, step: PerformedProcedureStep, status: str) -> tuple[str, ...]:
    """What this N-SET does against PS3.4 table F.7.2-1: set what was never created, end without what an end holds.

    A station of ours is taken at its word unless it is set to be strict; the defect is noted either way.
    """
    strict = Station.objects.filter(ae_title=step.station_ae_title, strict_steps=True).exists()
    new = tuple(sorted(tag for tag in said.data_set if f"{tag:08X}" not in step.attributes and tag >> 16 > 8))
    missing = _missing(known, status)
    if strict and new:
        raise Refused(NO_SUCH_ATTRIBUTE, "An attribute was not created and cannot be set.", tags=new)
    if strict and missing:
        raise Refused(MISSING_ATTRIBUTE_VALUE, "A final state needs these.", tags=missing)
    if missing:
        log.warning(
            "performed step %s is %s without %s",
            step.sop_instance_uid, status.lower(), ", ".join(f"{tag:08X}" for tag in missing),
        )  # fmt: skip
    return tuple(keyword_for_tag(tag) or f"{tag:08X}" for tag in {*new, *missing})


def _missing(known: JsonModel, status: str) -> tuple[int, ...]:
    """What a final state must hold and does not; without images there is something to name only when it completes."""
    if status == IN_PROGRESS:
        return ()
    series: list[JsonModel] = known.get(f"{_SERIES:08X}", {}).get("Value", [])
    missing = [tag for tag in (_END_DATE, _END_TIME) if not _text(known, tag)]
    missing += [_SERIES] * (not series and status == COMPLETED)
    missing += [
        tag for tag in (_PROTOCOL_NAME, _SERIES_INSTANCE_UID) if any(not _text(one, tag) for one in series)
    ]
    return tuple(missing)


# N-GET

_WORDS = {"in_progress": IN_PROGRESS, "completed": COMPLETED, "discontinued": DISCONTINUED}


def _known(request: Request, uid: str) -> JsonModel:
    step = PerformedProcedureStep.objects.filter(sop_instance_uid=uid).first()
    with working_for(f"{_caller(request)} {request.assoc.peer_address}"):
        record_access(
            system_user("dicom"), "performed_step.view", subject=f"mpps:{uid}"[:120],
            outcome="ok" if step else "refused",
        )  # fmt: skip
    if step is None:
        raise Refused(NO_SUCH_INSTANCE, "No such performed procedure step.")
    # A person may have ended it where the modality never did.
    status = {"vr": "CS", "Value": [_WORDS[step.status]]}
    return {**step.attributes, f"{_STATUS:08X}": status}


def _encoded(model: JsonModel, *, explicit: bool) -> bytes:
    data_set = Dataset.from_json(model)
    data_set.SpecificCharacterSet = "ISO_IR 192"
    encoded = encode(data_set, is_implicit_vr=not explicit, is_little_endian=True)
    if encoded is None:
        raise Refused(PROCESSING_FAILURE, "What was said cannot be written.")
    return encoded


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
