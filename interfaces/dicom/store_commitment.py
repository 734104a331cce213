"""Storage commitment: the archive's word that it keeps what it was sent (PS3.4 J)."""

import logging
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from interfaces import engine
from interfaces.dicom.objects import Reference
from interfaces.dicom.scu import COMMITMENT, COMMITMENT_INSTANCE, N_ACTION, encoded, envelope
from interfaces.models import OutboundMessage
from interfaces.states import OutboundState
from ris.core.formats import moment

log = logging.getLogger("lightbox.dicom")

TYPE = f"{N_ACTION} commitment"
_PURPOSE = "commit "


def purpose_of(transaction_uid: str) -> str:
    """What a request is found by when its report comes."""
    return f"{_PURPOSE}{transaction_uid}"


def request(transaction_uid: str, references: list[Reference]) -> bytes:
    """The N-ACTION's data set, ready to be sent (PS3.4 table J.3.2-1)."""
    ds = Dataset()
    ds.TransactionUID = transaction_uid
    ds.ReferencedSOPSequence = []
    for one in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = one.sop_class, one.instance
        ds.ReferencedSOPSequence.append(item)
    return envelope(encoded(ds, implicit=True), COMMITMENT, COMMITMENT_INSTANCE, str(ImplicitVRLittleEndian))


@transaction.atomic
def take_report(report: Dataset) -> bool:
    """An N-EVENT-REPORT: note it on the request it answers. False for one that we never made."""
    uid = str(report.get("TransactionUID", ""))
    asked = OutboundMessage.objects.filter(type=TYPE, purpose=purpose_of(uid)).order_by("-pk").first()
    if asked is None:
        log.warning("a storage commitment report answers no request of ours")
        return False
    failed = [int(one.get("FailureReason", 0)) for one in report.get("FailedSOPSequence", [])]
    if not failed:
        engine.note(asked, f"The archive keeps it, it said on {moment(timezone.now())}")
        return True
    why = _REASONS.get(failed[0], "it does not say why")
    text = f"The archive does not keep what it was sent ({len(failed)} of the objects): {why}"
    engine.answered_later(asked.control_id, code=f"{failed[0]:04X}", answer=text.encode(), text=text)
    return True


@transaction.atomic
def ask_again(at: datetime) -> int:
    """Ask anew where the archive has taken a request and never said more; how many."""
    silent = OutboundMessage.objects.filter(
        type=TYPE, status=OutboundState.ACCEPTED, note="", answered_at__lt=at - _PATIENCE,
        created_at__gt=at - 10 * _PATIENCE,
    )[:100]  # fmt: skip
    for message in silent:
        engine.ask_again(message)
    return len(silent)


#: Archives may take their time: they answer when all of a study lies on its final place.
_PATIENCE = timedelta(days=1)

#: Failure Reason (0008,1197), PS3.3 C.14.1.1.
_REASONS = {
    0x0110: "it could not process the request",
    0x0112: "it does not have it",
    0x0119: "the class is not the one it has it under",
    0x0122: "it does not commit to such objects",
    0x0131: "the transaction was used before",
    0x0213: "it has no room",
}
