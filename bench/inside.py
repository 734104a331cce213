"""Acts that need the department's own code: run as `python -m bench.inside ACT ...` with its environment.

Each prints one line of JSON. The clock is CLOCK_MONOTONIC, which all processes of a machine share.
"""

import json
import sys
import threading
import time
from itertools import count

import django

django.setup()

from django.db import connection, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from bench import onetask  # noqa: E402
from interfaces import engine  # noqa: E402
from interfaces.engine import Arrival, NewMessage  # noqa: E402
from interfaces.models import Endpoint  # noqa: E402
from ris.accounts.models import User  # noqa: E402
from ris.core.names import PersonName  # noqa: E402
from ris.department.models import Facility, ProcedureType  # noqa: E402
from ris.orders.actions import NewOrder, place_order  # noqa: E402
from ris.patients.actions import NewIdentifier, NewPatient, register_patient  # noqa: E402
from scheduling.actions import book  # noqa: E402
from scheduling.slots import find_slots  # noqa: E402
from tests.flows.department import adt  # noqa: E402


def store(clients: int, seconds: float) -> float:
    """Messages a second that so many threads store, each waiting for its commit."""
    done = [0] * clients
    go = threading.Barrier(clients + 1)
    run = f"{time.monotonic_ns()}"
    raw = adt("B1", event="A08").encode()

    def act(client: int) -> None:
        connection.ensure_connection()
        go.wait()
        end = time.monotonic() + seconds
        for number in count():
            if time.monotonic() >= end:
                break
            control_id = f"{run}.{client}.{number}"
            engine.store(
                Arrival(raw + control_id.encode(), None, "10.1.1.1", "BENCH|BENCH", control_id, "ADT^A08")
            )
            done[client] += 1
        connection.close()

    threads = [threading.Thread(target=act, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    go.wait()
    for thread in threads:
        thread.join()
    # Nobody is to apply them: they belong to no partner.
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE interfaces_inboundmessage SET status = 'rejected' WHERE sender = 'BENCH|BENCH' AND status = 'received'"
        )
    return sum(done) / seconds


def _new(partner: Endpoint, number: int) -> NewMessage:
    raw = adt(f"B{number}", event="A08")
    return NewMessage(
        endpoint=partner, event=None, purpose="bench", type="ADT^A08", key=f"B{number}",
        render=lambda control_id: raw.replace(raw.split("|")[9], control_id, 1).encode(),
    )  # fmt: skip


def fill(partner: str, messages: int) -> int:
    """Queue messages for a partner, all in one transaction."""
    endpoint = Endpoint.objects.get(name=partner)
    with transaction.atomic():
        for number in range(messages):
            engine.enqueue(_new(endpoint, number))
    return messages


def trickle(partner: str, messages: int, gap: float) -> dict[str, float]:
    """Queue a message at a time; the moment after each commit by control id."""
    endpoint = Endpoint.objects.get(name=partner)
    committed = {}
    for number in range(messages):
        with transaction.atomic():
            message = engine.enqueue(_new(endpoint, number))
        assert message is not None, "no fact, so never told before"
        committed[message.control_id] = time.monotonic()
        time.sleep(gap)
    return committed


def tasks(address: str, messages: int, gap: float) -> dict[str, float]:
    """The same with a bare Celery task for each message, sent on commit."""
    committed = {}
    for number in range(messages):
        raw = adt(f"T{number}", event="A08")
        control_id = raw.split("|")[9]
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO bench_task (control_id, raw) VALUES (%s, %s)", [control_id, raw.encode()]
            )
            transaction.on_commit(lambda sent=control_id: onetask.send.delay(sent, address))
        committed[control_id] = time.monotonic()
        time.sleep(gap)
    return committed


def plan() -> dict[str, int]:
    """A booked order; the keys of its rows."""
    by = User.objects.get(username="frontdesk")
    facility = Facility.objects.get()
    exam = ProcedureType.objects.filter(modality="CT").order_by("pk").first()
    assert exam is not None, "the bare department has a catalogue"
    patient = register_patient(
        NewPatient(PersonName("Template", "Row"), (NewIdentifier("TEMPLATE", facility.assigning_authority),)),
        by=by,
    )
    order = place_order(NewOrder(patient, facility, exam), by=by)
    slot = find_slots(exam, start=timezone.now(), limit=1)[0]
    appointment = book(order, room=slot.room, start=slot.start, by=by)
    return {
        "patient": patient.pk, "number": patient.identifiers.get().pk, "order": order.pk,
        "procedure": order.procedures.get().pk, "appointment": appointment.pk, "step": appointment.steps.get().pk,
    }  # fmt: skip


if __name__ == "__main__":
    act, *words = sys.argv[1:]
    given = [word if kind is str else kind(word) for word, kind in zip(words, {
        "store": (int, float), "fill": (str, int), "trickle": (str, int, float), "tasks": (str, int, float),
        "plan": (),
    }[act], strict=True)]  # fmt: skip
    print(json.dumps(globals()[act](*given)))
