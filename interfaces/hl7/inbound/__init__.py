"""One module a message type; each function turns a message into calls of verbs."""

from collections.abc import Callable

from interfaces.hl7.ack import Unsupported
from interfaces.hl7.er7 import Message
from interfaces.hl7.inbound import adt, orm, siu
from interfaces.hl7.reading import Context, Outcome

Reader = Callable[[Message, Context], Outcome]

READERS: dict[str, Reader] = {
    "ADT^A01": adt.admit,
    "ADT^A04": adt.admit,
    "ADT^A05": adt.admit,
    "ADT^A08": adt.admit,
    "ADT^A28": adt.person,
    "ADT^A31": adt.person,
    "ORM^O01": orm.order,
    "OMG^O19": orm.order,
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
