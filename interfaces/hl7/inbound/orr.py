"""ORR^O02, ORG^O20 and ORI^O24: what the placer says to an order that was born here (RAD-3; HL7 2.5.1 4.4.2)."""

from interfaces.cases import NewCase, open_case
from interfaces.hl7.er7 import Message
from interfaces.hl7.reading import Context, Outcome
from interfaces.hl7.requests import Group, filler_number, groups, placer_number
from interfaces.models import CaseKind, Direction
from ris.core.errors import MissingData, NotFound
from ris.orders.actions import assign_placer_number, find_by_filler
from ris.orders.models import Order


def reply(message: Message, context: Context) -> Outcome:
    """NA brings the placer's number (FIL-02); a refusal leaves the order without one, for a person (FIL-03)."""
    outcome = Outcome()
    refused = message.get("MSA-1").upper() in {"AE", "AR"}
    for group in groups(message) if message.find("ORC") is not None else []:
        if group.control == "NA" and not refused:
            order = number(group, context)
        else:
            order = _order(group)
            if refused or group.control == "UA":
                _leave_to_a_person(order, context)
        outcome = Outcome(order.patient, order.accession_number)
    return outcome


def number(group: Group, context: Context) -> Order:
    """Give our order the number the placer has for it."""
    value, authority = placer_number(group)
    if not value:
        raise MissingData("The answer does not say the placer's number.", location=group.orc.location(2))
    endpoint = context.endpoint
    # What comes back on our own line comes from the partner whose orders that line is for.
    source = (
        endpoint.name if endpoint.direction == Direction.IN else endpoint.option("order_only", endpoint.name)
    )
    return assign_placer_number(
        _order(group), value, authority, source=source or endpoint.name, by=context.by
    )


def _order(group: Group) -> Order:
    order = find_by_filler(filler_number(group))
    if order is None:
        raise NotFound("This order is not known here.", location=group.orc.location(3))
    return order


def _leave_to_a_person(order: Order, context: Context) -> None:
    if order.placer_order_number:
        return
    open_case(
        NewCase(
            CaseKind.NO_PLACER_NUMBER, f"placer:{order.accession_number}",
            f"{context.endpoint.name} did not take an order that was made here.",
            "Ask the sender's staff why; enter the order there, or cancel it here.",
            patient_id=order.patient_id, accession_number=order.accession_number,
        ),
        endpoint=context.endpoint, inbound=context.inbound,
    )  # fmt: skip
