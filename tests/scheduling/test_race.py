"""Two desks at one moment: what the database promises, shown with real connections."""

import threading
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from django.db import connections
from django.db.models import Count

from ris.accounts.models import User
from ris.core import formats
from ris.core.errors import Conflict, IllegalTransition
from ris.department.models import Room
from ris.orders.models import Order
from scheduling import actions as scheduling
from scheduling.models import Appointment, ScheduledProcedureStep
from scheduling.states import LIVE
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db(transaction=True)
SLOTS = 60


def tomorrow_at_six() -> datetime:
    local = formats.local(makers.next_hour(24))
    return local.replace(hour=6, minute=0)


class Desk(threading.Thread):
    """Books its orders one after the other into the first slot it still gets."""

    def __init__(
        self, by: User, orders: list[Order], slots: list[tuple[Room, datetime]], together: threading.Barrier
    ):
        super().__init__()
        self.by, self.orders, self.slots, self.together = by, orders, slots, together
        self.booked = self.refused = 0
        self.surprise: Exception | None = None

    def run(self) -> None:
        orders = iter(self.orders)
        order = next(orders)
        try:
            for room, start in self.slots:
                self.together.wait(30)
                try:
                    scheduling.book(order, room=room, start=start, by=self.by)
                except Conflict:
                    self.refused += 1
                else:
                    self.booked += 1
                    order = next(orders)
        except Exception as surprise:
            self.surprise = surprise
            self.together.abort()
        finally:
            connections.close_all()


def test_two_desks_race_for_sixty_slots_and_fill_each_once() -> None:
    kind = makers.make_procedure_type(duration_minutes=15)
    rooms = [makers.make_room("CT1"), makers.make_room("CT2")]
    first = tomorrow_at_six()
    slots = [(room, first + timedelta(minutes=15 * at)) for at in range(SLOTS // 2) for room in rooms]
    patients = [makers.make_patient(f"Family{at}") for at in range(8)]
    together = threading.Barrier(2)
    desks = []
    for name in ("clara", "mona"):
        # One of few patients has the other desk's exam at the same time: locks are taken across.
        orders = [
            makers.make_order(makers.make_patient() if at % 4 else patients[at // 4 % 8], procedure_type=kind)
            for at in range(SLOTS + 1)
        ]
        desks.append(Desk(person(name), orders, slots, together))
    for desk in desks:
        desk.start()
    for desk in desks:
        desk.join(90)
    assert [desk.surprise for desk in desks] == [None, None]
    live = Appointment.objects.filter(status__in=LIVE)
    assert live.count() == SLOTS == sum(desk.booked for desk in desks)
    assert sum(desk.refused for desk in desks) == SLOTS
    for room in rooms:
        times = sorted((one.starts_at, one.ends_at) for one in live.filter(room=room))
        assert all(end <= start for (_, end), (start, _) in pairwise(times))
    assert not live.values("order").annotate(n=Count("pk")).filter(n__gt=1).exists()
    assert ScheduledProcedureStep.objects.count() == SLOTS
    assert Order.objects.filter(status="scheduled").count() == SLOTS


def test_one_order_booked_by_two_desks_at_once_is_booked_once() -> None:
    order = makers.make_order()
    rooms = [makers.make_room("CT1"), makers.make_room("CT2")]
    together = threading.Barrier(2)
    outcome: list[str] = []

    def book(room: Room, name: str) -> None:
        together.wait(30)
        try:
            scheduling.book(order, room=room, start=tomorrow_at_six(), by=person(name))
            outcome.append("booked")
        except (Conflict, IllegalTransition):
            outcome.append("refused")
        finally:
            connections.close_all()

    person("clara"), person("mona")
    desks = [threading.Thread(target=book, args=pair) for pair in zip(rooms, ("clara", "mona"), strict=True)]
    for desk in desks:
        desk.start()
    for desk in desks:
        desk.join(60)
    assert sorted(outcome) == ["booked", "refused"]
    assert Appointment.objects.count() == 1
