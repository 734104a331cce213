"""One module a message type; each function turns a message into calls of verbs."""

from collections.abc import Callable

from interfaces.hl7.ack import Unsupported
from interfaces.hl7.er7 import Message
from interfaces.hl7.inbound import acks, adt, adt_identity, orm, orr, siu
from interfaces.hl7.reading import Context, Outcome

Reader = Callable[[Message, Context], Outcome]

READERS: dict[str, Reader] = {
    **{f"ADT^{event}": adt.admit for event in ("A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08")},
    **{f"ADT^{event}": adt.admit for event in ("A11", "A12", "A13", "A38")},
    "ADT^A28": adt.person,
    "ADT^A31": adt.person,
    "ADT^A09": adt.track,
    "ADT^A10": adt.track,
    **{f"ADT^{event}": adt.pending for event in ("A14", "A15", "A16", "A51")},
    "ADT^A60": adt.allergies,
    **{f"ADT^{event}": adt_identity.merge for event in ("A18", "A34", "A36", "A39", "A40")},
    **{f"ADT^{event}": adt_identity.merge_account for event in ("A35", "A41", "A49")},
    **{f"ADT^{event}": adt_identity.merge_visit for event in ("A42", "A50")},
    **{f"ADT^{event}": adt_identity.move_visit for event in ("A44", "A45")},
    "ADT^A43": adt_identity.move_number,
    **{f"ADT^{event}": adt_identity.renumber for event in ("A46", "A47")},
    **{f"ADT^{event}": adt_identity.link for event in ("A24", "A37")},
    **{f"ADT^{event}": adt_identity.deletion for event in ("A23", "A29")},
    "ORM^O01": orm.order,
    "OMG^O19": orm.order,
    "OMI^O23": orm.order,
    "ORR^O02": orr.reply,
    "ORG^O20": orr.reply,
    "ORI^O24": orr.reply,
    "SIU^S12": siu.book,
    "SIU^S13": siu.move,
    "SIU^S14": siu.move,
    "SIU^S15": siu.cancel,
    "SIU^S16": siu.cancel,
    "SIU^S17": siu.cancel,
    "SIU^S26": siu.missed,
}
_TYPES = {kind.split("^")[0] for kind in READERS}


def reader_for(type_: str, trigger: str) -> Reader:
    """Raises Unsupported: 200 for another type, 201 for another event of a type we read."""
    if type_ == "ACK":
        # Its event is that of the message it answers.
        return acks.answer
    if type_ not in _TYPES:
        raise Unsupported(
            f"This receiver takes {', '.join(sorted(_TYPES))}, not {type_ or 'an empty type'}.",
            hl7_code="200", location="MSH-9.1",
        )  # fmt: skip
    if not trigger and type_ == "ORM":
        trigger = "O01"
    reader = READERS.get(f"{type_}^{trigger}")
    if reader is None:
        events = ", ".join(kind.split("^")[1] for kind in READERS if kind.startswith(type_))
        raise Unsupported(f"Of {type_} this receiver takes {events}.", hl7_code="201", location="MSH-9.2")
    return reader
