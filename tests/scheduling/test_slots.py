"""Finding free time."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from ris.core import formats
from ris.department.models import ProcedureType, Room
from scheduling import actions as scheduling
from scheduling.models import Opening
from scheduling.slots import GRID, Slot, find_slots
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db
ZONE = ZoneInfo("America/New_York")


@pytest.fixture
def room() -> Room:
    """CT 1, open from 8 to 12 on every day."""
    made = makers.make_room()
    Opening.objects.filter(room=made).update(opens="08:00", closes="12:00")
    return made


@pytest.fixture
def exam() -> ProcedureType:
    return makers.make_procedure_type()


def at(hour: int, minute: int = 0, *, days: int = 1) -> datetime:
    return datetime.combine(formats.today() + timedelta(days=days), time(hour, minute), ZONE)


def starts(slots: list[Slot]) -> list[datetime]:
    return [slot.start for slot in slots]


def test_free_times_lie_in_the_opening_hours_and_between_bookings(room: Room, exam: ProcedureType) -> None:
    makers.make_appointment(room=room, start=at(8))
    scheduling.block_room(room, start=at(9), end=at(11), reason="Service", by=person("mona"))
    found = find_slots(exam, start=at(0), days=0)
    assert starts(found) == [at(8, 30), at(11), at(11, 30)]


def test_the_last_day_searched_knows_its_bookings_to_its_end(room: Room, exam: ProcedureType) -> None:
    for hour, minute in [(8, 0), (8, 30), (9, 0), (9, 30), (10, 0), (10, 30), (11, 0), (11, 30)]:
        makers.make_appointment(
            makers.make_order(makers.make_patient()), room=room, start=at(hour, minute, days=2)
        )
    assert find_slots(exam, start=at(7), days=1, limit=99)[-1].start < at(0, days=2)


def test_a_patient_is_not_proposed_two_exams_at_one_time(room: Room, exam: ProcedureType) -> None:
    patient = makers.make_patient()
    ultrasound = makers.make_procedure_type("USABD", name="US abdomen", modality="US", duration_minutes=60)
    makers.make_appointment(
        makers.make_order(patient, procedure_type=ultrasound), room=makers.make_room("US1", "US"), start=at(8)
    )
    assert find_slots(exam, start=at(7), patient=patient, limit=1)[0].start == at(9)
    assert find_slots(exam, start=at(7), limit=1)[0].start == at(8)


def test_an_appointment_does_not_stand_in_its_own_way(room: Room, exam: ProcedureType) -> None:
    mine = makers.make_appointment(room=room, start=at(8))
    patient = mine.patient
    found = find_slots(exam, start=at(7), patient=patient, moving=mine, step=GRID, limit=2)
    assert starts(found) == [at(8), at(8, 15)]


def test_times_of_the_afternoon_can_be_asked_for(room: Room, exam: ProcedureType) -> None:
    assert find_slots(exam, start=at(0), between=(time(12), time.max), days=3) == []
    morning = find_slots(exam, start=at(10), between=(time.min, time(10)), days=1, limit=9)
    assert starts(morning) == [at(8, days=2), at(8, 30, days=2), at(9, days=2), at(9, 30, days=2)]
