"""Instance Availability Notification: an archive says what of a study can be had (PS3.4 R, RAD-49).

A notice names instances of one study; several notices add up. What it says is kept by `note_images`.
"""

import re
from collections.abc import Iterator
from functools import partial

from interfaces.dicom.association import Request
from interfaces.dicom.charsets import UnknownCharacterSet
from interfaces.dicom.database import Database
from interfaces.dicom.elements import EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN, BadDataSet, read
from interfaces.dicom.jsonmodel import JsonModel, json_model
from interfaces.dicom.status import (
    INVALID_ATTRIBUTE_VALUE,
    INVALID_OBJECT_INSTANCE,
    MISSING_ATTRIBUTE,
    MISSING_ATTRIBUTE_VALUE,
    PROCESSING_FAILURE,
    SUCCESS,
    Refused,
)
from interfaces.models import ReceivedDataset
from ris.accounts.models import system_user
from ris.audit.trail import record_access, working_for
from ris.core.errors import RisError
from ris.core.identifiers import new_uid
from ris.exams import actions as exams
from ris.exams.actions import NewImages, SeriesImages
from ris.exams.models_images import Availability, ImageSource
from ris.exams.performed import items, text

SOP_CLASS = "1.2.840.10008.5.1.4.33"
DATA_SET_CAP = 16_777_216

_STUDY, _SERIES, _PPS, _REFERENCED_SERIES = 0x0020000D, 0x0020000E, 0x00081111, 0x00081115
_INSTANCES, _CLASS, _INSTANCE = 0x00081199, 0x00081150, 0x00081155
_AVAILABILITY, _RETRIEVE = 0x00080056, 0x00080054


class Notices:
    """The SCP: the bytes are stored before they are read, and answered after they are applied."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, request: Request) -> None:
        uid = request.command.sop_instance or new_uid()
        if not re.fullmatch(r"[0-9.]{1,64}", uid):
            raise Refused(INVALID_OBJECT_INSTANCE, "The SOP Instance UID is no UID.")
        await self._database.write(partial(_keep, request, uid))
        await self._database.write(partial(_take, request, uid))
        await request.send(request.head(SUCCESS, sop_instance=uid))


def _caller(request: Request) -> str:
    return request.assoc.caller.ae_title if request.assoc.caller else ""


def _keep(request: Request, uid: str) -> None:
    ReceivedDataset.keep(
        calling_ae_title=_caller(request)[:16], peer=request.assoc.peer_address, operation="N-CREATE",
        sop_class_uid=SOP_CLASS, sop_instance_uid=uid, raw=request.data_set,
        transfer_syntax_uid=EXPLICIT_LITTLE_ENDIAN if request.context.explicit else IMPLICIT_LITTLE_ENDIAN,
    )  # fmt: skip


def _take(request: Request, uid: str) -> None:
    with working_for(f"{_caller(request)} {request.assoc.peer_address}"):
        try:
            exams.note_images(_notice(_read(request)), by=system_user("dicom"))
        except (Refused, RisError) as refusal:
            told = (
                refusal
                if isinstance(refusal, Refused)
                else Refused(PROCESSING_FAILURE, f"Not taken: {refusal.code}.")
            )
            record_access(
                system_user("dicom"), "images.refused", subject=f"ian:{uid}"[:120], outcome="refused",
                status=f"{told.status:04X}", comment=told.comment,
            )  # fmt: skip
            raise told from None


def _read(request: Request) -> JsonModel:
    try:
        return json_model(read(request.data_set, explicit=request.context.explicit))
    except BadDataSet as problem:
        raise Refused(PROCESSING_FAILURE, f"Data set: {problem}.") from None
    except (UnknownCharacterSet, UnicodeDecodeError):
        raise Refused(
            INVALID_ATTRIBUTE_VALUE, "Text is not in the declared character set.", tags=(0x00080005,)
        ) from None


def _notice(model: JsonModel) -> NewImages:
    """Raises Refused for what PS3.4 table R.3.2-1 asks for and is not there."""
    # Referenced Performed Procedure Step Sequence is type 2; what leaves it out is taken.
    _need(model, _STUDY)
    series = tuple(_series(item) for item in _several(model, _REFERENCED_SERIES))
    retrieve = next(
        (text(one, f"{_RETRIEVE:08X}") for item in items(model, f"{_REFERENCED_SERIES:08X}")
         for one in items(item, f"{_INSTANCES:08X}")), "",
    )  # fmt: skip
    return NewImages(
        study_instance_uid=text(model, f"{_STUDY:08X}"),
        source=ImageSource.IAN,
        series=series,
        retrieve_ae_title=retrieve,
        whole=False,
    )


def _series(item: JsonModel) -> SeriesImages:
    _need(item, _SERIES)
    levels: set[str] = set()
    present: list[str] = []
    gone: list[str] = []
    for one in _several(item, _INSTANCES):
        for tag in (_CLASS, _INSTANCE, _AVAILABILITY, _RETRIEVE):
            _need(one, tag)
        level = text(one, f"{_AVAILABILITY:08X}")
        if level not in Availability.values:
            raise Refused(
                INVALID_ATTRIBUTE_VALUE, "ONLINE, NEARLINE, OFFLINE or UNAVAILABLE.", tags=(_AVAILABILITY,)
            )
        levels.add(level)
        (gone if level == Availability.UNAVAILABLE else present).append(text(one, f"{_INSTANCE:08X}"))
    return SeriesImages(
        text(item, f"{_SERIES:08X}"), instances=present, gone=gone,
        availability=max(levels, key=Availability.values.index),
    )  # fmt: skip


def _several(model: JsonModel, tag: int) -> Iterator[JsonModel]:
    """The items of a sequence that has at least one."""
    _need(model, tag)
    yield from items(model, f"{tag:08X}")


def _need(model: JsonModel, tag: int) -> None:
    key = f"{tag:08X}"
    if key not in model:
        raise Refused(MISSING_ATTRIBUTE, "A type 1 attribute is missing.", tags=(tag,))
    if not text(model, key) and not items(model, key):
        raise Refused(MISSING_ATTRIBUTE_VALUE, "A type 1 attribute is empty.", tags=(tag,))
