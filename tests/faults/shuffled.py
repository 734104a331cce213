"""A day's feed of an EMR, in order and as bad lines deliver it, and the state that each leaves."""

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from interfaces.hl7 import mllp, receiver
from interfaces.models import Case, InboundMessage
from ris.orders.models import Order
from ris.patients.actions import survivor
from ris.patients.models import PatientIdentifier

CODE = "CTHEAD^CT head^L"


@dataclass
class Feed:
    """Messages in the order in which they were true; each says when (EVN-2, MSH-7)."""

    seed: int
    messages: list[str] = field(default_factory=list)

    def shuffled(self) -> list[str]:
        """A third of them late, a third twice, some much later once more."""
        dice = random.Random(self.seed + 1000)
        late = [(number + (dice.randint(1, 12) if dice.random() < 0.33 else 0), message)
                for number, message in enumerate(self.messages)]  # fmt: skip
        late += [
            (number + dice.randint(0, 30), message)
            for number, message in enumerate(self.messages)
            if dice.random() < 0.33
        ]
        return [message for _, message in sorted(late, key=lambda one: one[0])]


def feed(seed: int) -> Feed:
    """Six patients who are registered, corrected, merged in chains, and have orders that change and end."""
    dice, made = random.Random(seed), Feed(seed)
    clock = datetime(2026, 3, 1, 8)

    def tell(kind: str, *segments: str) -> None:
        nonlocal clock
        clock += timedelta(minutes=1)
        now, event = f"{clock:%Y%m%d%H%M%S}", kind if kind.startswith("ORM") else f"ADT^{kind}"
        head = f"MSH|^~\\&|EMR|HOSP|LIGHTBOX|HARBOUR|{now}||{event}|S{seed}-{len(made.messages)}|P|2.3.1"
        evn = [] if kind.startswith("ORM") else [f"EVN|{kind}|{now}"]
        made.messages.append("\r".join([head, *evn, *segments, ""]))

    def pid(number: int, street: str = "1 FIRST ST") -> str:
        return f"PID|||{seed}P{number}^^^HOSP^MR||FEED{number}^TEST||1970010{number}|F|||{street}^^SALEM^MA^01970"

    def order(control: str, number: int, owner: int, priority: str = "R") -> None:
        placer = f"{seed}O{number}^EMR"
        tell("ORM^O01", pid(owner), f"ORC|{control}|{placer}|||||^^^^^{priority}",
             f"OBR|1|{placer}||{CODE}|||||||||Cough||||||||||||||^^^^^{priority}||||^Cough")  # fmt: skip

    alive = list(range(1, 7))
    for number in alive:
        tell("A04", pid(number))
    owners: dict[int, int] = {}
    for number in range(1, 9):
        owners[number] = dice.choice(alive)
        order("NW", number, owners[number])
    open_ = list(owners)
    for _ in range(12):
        act = dice.choice(["A08", "A08", "XO", "CA", "A40"])
        if act == "A08":
            tell("A08", pid(dice.choice(alive), f"{dice.randint(2, 99)} NEW ST"))
        elif act == "A40" and len(alive) > 2:
            kept, gone = dice.sample(alive, 2)
            alive.remove(gone)
            owners = {one: kept if owner == gone else owner for one, owner in owners.items()}
            tell("A40", pid(kept), f"MRG|{seed}P{gone}^^^HOSP^MR")
        elif act == "XO" and open_:
            chosen = dice.choice(open_)
            order("XO", chosen, owners[chosen], "S")
        elif act == "CA" and open_:
            chosen = dice.choice(open_)
            open_.remove(chosen)
            order("CA", chosen, owners[chosen])
    return made


@dataclass
class State:
    """What a person would see: who shares a record, whose an order is and how it stands; and what waits for them."""

    patients: dict[str, tuple[frozenset[str], str]] = field(default_factory=dict)
    orders: dict[str, tuple[frozenset[str], str, str]] = field(default_factory=dict)
    #: The text of every message that waits in a case or was refused.
    waiting: list[str] = field(default_factory=list)


def play(messages: list[str]) -> State:
    """Receive them one after the other. What is not accepted is sent again at the end, as an EMR's clerk does."""
    for message in messages:
        list(receiver.receive(mllp.Frame(message.encode()), "127.0.0.1"))
    state, sharing = State(), dict[int, set[str]]()
    numbers = {
        one.value: survivor(one.patient)
        for one in PatientIdentifier.objects.filter(authority="HOSP").select_related("patient")
    }
    for number, patient in numbers.items():
        sharing.setdefault(patient.pk, set()).add(number)
    for number, patient in numbers.items():
        state.patients[number] = (frozenset(sharing[patient.pk]), patient.address)
    for order in Order.objects.select_related("patient"):
        shared = frozenset(sharing.get(survivor(order.patient).pk, ()))
        state.orders[order.placer_order_number] = (shared, order.status, order.priority)
    refused = InboundMessage.objects.exclude(status="processed")
    held = InboundMessage.objects.filter(pk__in=Case.objects.filter(status="open").values("inbound"))
    state.waiting = [bytes(one.raw).decode() for one in (refused | held).distinct()]
    return state


def unexplained(in_order: State, late: State) -> list[str]:
    """Differences that no waiting message speaks of."""
    found = []
    for name in ("patients", "orders"):
        wanted, got = getattr(in_order, name), getattr(late, name)
        for key in sorted(set(wanted) | set(got)):
            if wanted.get(key) == got.get(key):
                continue
            # What a waiting message names, and those who share its record or its order's.
            touched = {key, *_shared(wanted.get(key)), *_shared(got.get(key))}
            if not any(f"{one}^" in text for text in late.waiting for one in touched):
                found.append(f"{key}: {wanted.get(key)} in order, {got.get(key)} shuffled")
    return found


def _shared(entry: tuple[frozenset[str], ...] | None) -> frozenset[str]:
    return entry[0] if entry else frozenset()
