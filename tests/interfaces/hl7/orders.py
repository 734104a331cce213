"""Orders sent to us without a socket: stored and applied as the listener does it."""

from typing import Any

from interfaces import engine
from interfaces.actions import configure_endpoint
from interfaces.hl7 import ack, receiver
from interfaces.models import CodeMap, Endpoint, InboundMessage
from ris.accounts.models import system_user
from ris.orders.models import Order
from tests.interfaces.hl7.samples import group, msh, pid
from tests.makers import make_facility, make_procedure_type
from tests.peers.emr import Entry


def sender(name: str = "emr_in", **values: Any) -> Endpoint:
    """A partner that sends to us; by default whoever sends is it."""
    make_facility()
    make_procedure_type()
    given = {"protocol": "mllp", "direction": "in", **values}
    return configure_endpoint(name, given, by=system_user("shell"))


def mapped(endpoint: Endpoint, table: str, **codes: str) -> None:
    """`mapped(endpoint, "exam", XR99="CTHEAD")`: what the partner says, and what it is here."""
    for theirs, ours in codes.items():
        CodeMap.objects.create(endpoint=endpoint, table=table, theirs=theirs, ours=ours)


def message(*lines: str, kind: str = "ORM^O01", **header: str) -> str:
    return "\r".join([msh(kind, **header), *lines, ""])


def new(number: str = "A1^EMR", control: str = "NW", *more: str, **values: Any) -> str:
    """A message with patient, visit and one order; `more` are the segments after it."""
    header = {key: values.pop(key) for key in ("kind", "version", "app", "facility") if key in values}
    person = values.pop("person", pid())
    return message(person, "PV1||O", group(control, number, **values), *more, **header)


def send(text: str) -> Entry:
    """The answer to a message."""
    return reply_to(take(text))


def take(text: str) -> InboundMessage:
    header = ack.header_of(text.encode(), None)
    stored, _ = engine.store(
        engine.Arrival(
            raw=text.encode(), endpoint=receiver.endpoint_of(header), peer="", control_id=header.control_id,
            type=header.kind, sender=f"{header.sending_application}|{header.sending_facility}",
        )
    )  # fmt: skip
    return receiver.apply(stored.pk)


def reply_to(stored: InboundMessage) -> Entry:
    raw = bytes(stored.ack or b"")
    return Entry(stored.control_id, "", raw.decode("latin-1"), stored.ack_code, 0, 0.0)


def said(answer: Entry) -> str:
    """MSA-1 with the ORC-1 of each order, or with the error's code."""
    code = answer.field("MSA", 1)
    controls = [orc[1] for orc in answer.all("ORC")]
    error = answer.field("ERR", 3) or answer.field("ERR", 1)
    number = error.split("^")[3].split("&")[0] if answer.field("ERR", 1) else error.split("^")[0]
    return " ".join(filter(None, [code, *controls, number]))


def the_order(number: str = "A1") -> Order:
    return Order.objects.get(placer_order_number=number)
