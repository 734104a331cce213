"""What became of the placer's orders: ORR^O02, ORG^O20 or ORI^O24 in the place of the ACK, or an ORM of its own.

ORC-1 says OK, CR, XR ... or UA, UC, UX ... (ORD-01..07; HL7 2.5.1 4.5.1.1). The ACK code of a refusal that
ORC-1 tells is AA: the message was understood, and sending it again would change nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from django.utils import timezone

from interfaces import engine
from interfaces.engine import NewMessage
from interfaces.hl7 import ack, er7, profile
from interfaces.hl7.ack import Header
from interfaces.hl7.er7 import Raw, Value
from interfaces.hl7.outbound import omi, orm, parts
from interfaces.hl7.outbound.parts import Writer
from interfaces.hl7.reading import Context, Outcome
from interfaces.hl7.requests import Group
from interfaces.models import Direction, Endpoint, Protocol
from ris.orders.models import Order
from ris.orders.states import OrderStatus


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one ORC: the code of the answer, the order, and why not."""

    group: Group
    code: str
    order: Order | None = None
    why: str = ""


def outcome(told: Sequence[Told], context: Context) -> Outcome:
    """The outcome of a message with the answer that its sender wants (profile `replies`). A question (SS) is
    answered with ORR at least."""
    first = next((one.order for one in told if one.order is not None), None)
    number = first.accession_number if first else ""
    mode = profile.option(context.endpoint.profile, "replies")
    if mode == "orm":
        _queue(told, context, first)
    elif mode == "orr" or any(one.code == "SR" for one in told):
        return Outcome(first.patient if first else None, number, partial(render, told, context.endpoint))
    return Outcome(first.patient if first else None, number)


_KINDS = {
    "ORM": ("ORR", "O02", "ORR_O02"),
    "OMG": ("ORG", "O20", "ORG_O20"),
    "OMI": ("ORI", "O24", "ORI_O24"),
}


def render(told: Sequence[Told], endpoint: Endpoint, header: Header, control_id: str) -> bytes:
    """The application reply to the message with this header, in its version."""
    writer = Writer(endpoint, control_id, timezone.now(), version_here=ack.version_of(header))
    why = next((one.why for one in told if one.why), "")
    body = _segments(told, writer, images=header.type == "OMI")
    msh = ack.answer_header(header, _KINDS[header.type], control_id=control_id, body="".join([*body, why]))
    return er7.write([msh, er7.segment("MSA", {1: "AA", 2: header.control_id, 3: why[:80]}), *body])


def _queue(told: Sequence[Told], context: Context, first: Order | None) -> None:
    """The answer as a message of its own to the partner `reply_to`."""
    to = Endpoint.objects.filter(
        name=profile.option(context.endpoint.profile, "reply_to"), protocol=Protocol.MLLP,
        direction=Direction.OUT, active=True,
    ).first()  # fmt: skip
    if to is None:
        return
    at = timezone.now()
    engine.enqueue(
        NewMessage(
            endpoint=to, event=None, purpose=f"reply {' '.join(one.code for one in told)}", type="ORM^O01",
            key=first.subject if first else f"reply:{context.endpoint.name}",
            render=lambda control_id: _message(told, Writer(to, control_id, at)),
            patient_id=first.patient_id if first else None,
            accession_number=first.accession_number if first else "",
        )
    )  # fmt: skip


def _message(told: Sequence[Told], writer: Writer) -> bytes:
    return writer.message(("ORM", "O01", "ORM_O01"), _segments(told, writer, images=False))


def _segments(told: Sequence[Told], writer: Writer, *, images: bool) -> list[str]:
    segments: list[str] = []
    first = next((one.order for one in told if one.order is not None), None)
    if first is not None:
        segments.append(parts.pid(first.patient, first.visit, writer))
    for number, one in enumerate(told, 1):
        why: Value = ["", one.why] if one.why else ""
        if one.order is None:
            segments += _unknown(one, why, number)
            continue
        order = one.order
        start = orm.start_of(order)
        fields: dict[int, Value | Raw] = {1: one.code, 7: orm.timing(order, start, writer), 16: why}
        if one.code == "SR":
            fields[5] = parts.status(STATUS[OrderStatus(order.status)], writer)
        segments += [
            parts.common_order(order, writer, fields),
            orm.plain_request(order, start, writer, number),
        ]
        if images:
            segments += omi.procedure_control(order, writer)
    return segments


def _unknown(told: Told, why: Value, number: int) -> list[str]:
    """ORC and OBR as they came, for an order that was not placed."""
    orc, obr = told.group.orc, told.group.obr
    request: dict[int, Value | Raw] = {1: str(number), 2: Raw(orc.restated(2))}
    if obr is not None:
        request[4] = Raw(obr.restated(4))
    return [
        er7.segment("ORC", {1: told.code, 2: Raw(orc.restated(2)), 3: Raw(orc.restated(3)), 16: why}),
        er7.segment("OBR", request),
    ]


#: ORC-5 (table 0038). What waits to be booked is in process too; the table has no other word for it.
STATUS = {
    OrderStatus.REQUESTED: "SC",
    OrderStatus.HELD: "HD",
    OrderStatus.SCHEDULED: "SC",
    OrderStatus.IN_PROGRESS: "IP",
    OrderStatus.PERFORMED: "CM",
    OrderStatus.REPORTED: "CM",
    OrderStatus.CANCELLED: "CA",
    OrderStatus.DISCONTINUED: "DC",
}
