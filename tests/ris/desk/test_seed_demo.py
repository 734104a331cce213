"""The demo department: invented, whole, and alive at whatever hour it is made."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django.plugin import DjangoDbBlocker

from billing.models import Charge
from interfaces.models import StationTwin
from ris.accounts.models import User
from ris.audit.models import AuditEvent
from ris.department.models import ProcedureType, Room
from ris.desk.radar import look
from ris.desk.seeds.bare import seed_bare
from ris.desk.seeds.demo import seed_demo
from ris.desk.seeds.people import invent_people
from ris.desk.seeds.plan import Planner
from ris.events.models import Delivery, Event
from ris.exams.models import Dose, DoseReferenceLevel, Exam, ExamEvent, ExamMessage, PerformedProcedureStep
from ris.exams.worklists import portable_round
from ris.orders.models import Order
from ris.patients.models import Patient, PatientIdentifier
from ris.reporting.models import Report, ReportPart
from ris.reporting.signing import is_whole
from scheduling.models import Appointment, ScheduledProcedureStep
from scheduling.slots import opening_spans
from scheduling.states import LIVE

ZONE = ZoneInfo("America/New_York")
_today = timezone.now().astimezone(ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
#: A Tuesday morning within the last week.
TUESDAY = _today - timedelta(days=(_today.weekday() - 1) % 7 or 7) + timedelta(hours=10, minutes=20)
SUNDAY_NIGHT = _today - timedelta(days=(_today.weekday() - 6) % 7 or 7) + timedelta(hours=3, minutes=12)


def counts(model: type[Appointment] | type[Order] | type[Exam] | type[Report] | type[Charge]) -> Counter[str]:
    return Counter(model._default_manager.values_list("status", flat=True))


@pytest.fixture(scope="class")
def demo(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[list[str]]:
    """A small department on a Tuesday morning, rolled back when its tests are done."""
    said: list[str] = []
    with django_db_blocker.unblock(), transaction.atomic():
        seed_bare("a password for tests")
        seed_demo(7, said.append, patients=300, now=TUESDAY)
        yield said
        transaction.set_rollback(True)


@pytest.mark.django_db
@pytest.mark.usefixtures("demo")
class TestTheDemo:
    def test_the_scanners_have_events_questions_doses_and_a_round(self) -> None:
        assert ExamEvent.objects.count() > 10
        assert Dose.objects.filter(source="rdsr").exists()
        assert DoseReferenceLevel.objects.count() > 5
        assert ExamMessage.objects.filter(side="room").exists()
        wards = [one.ward for one in portable_round()]
        assert wards == sorted(wards)
        assert set(wards) & {"4 East", "2 West", "ICU"}

    def test_each_phase_says_what_it_made(self, demo: list[str]) -> None:
        assert len(demo) == 4
        assert demo[0].startswith("300 patients")

    def test_patients_have_nine_digit_numbers_and_some_are_known_by_their_year_only(self) -> None:
        numbers = PatientIdentifier.objects.values_list("value", "authority")
        assert len(numbers) >= 300
        assert all(len(value) == 9 and value.isdigit() and who == "HARBOUR" for value, who in numbers)
        assert Patient.objects.exclude(ideographic="").exists()
        assert Patient.objects.exclude(allergies="").exists()
        assert min(map(len, Patient.objects.values_list("birth_date", flat=True))) < 10

    def test_orders_exams_reports_and_charges_stand_in_every_state(self) -> None:
        assert set(counts(Order)) == {
            "requested", "held", "scheduled", "in_progress", "performed", "reported", "cancelled", "discontinued",
        }  # fmt: skip
        assert {"booked", "confirmed", "arrived", "ready", "fulfilled", "cancelled"} <= set(
            counts(Appointment)
        )
        assert {"in_progress", "completed", "discontinued"} <= set(counts(Exam))
        assert {"draft", "preliminary", "final", "addended"} <= set(counts(Report))
        assert set(counts(Charge)) == {"captured", "held", "sent", "voided"}

    def test_at_least_14_orders_wait_to_be_booked_and_some_codes_to_be_matched(self) -> None:
        waiting = Order.objects.filter(status="requested", appointments=None)
        assert waiting.exclude(procedures__procedure_type=None).count() >= 14
        assert waiting.filter(procedures__procedure_type=None).count() >= 3

    def test_unread_exams_of_several_priorities_wait_for_a_reader(self) -> None:
        unread = Exam.objects.filter(status="completed", reported=None)
        assert unread.count() >= 20
        assert {"routine", "stat"} <= set(unread.values_list("order__priority", flat=True))

    def test_every_signature_stands_for_its_text(self) -> None:
        addenda = ReportPart.objects.filter(kind="addendum")
        parts = [*addenda[:5], *ReportPart.objects.order_by("-pk")[:50]]
        assert addenda
        assert all(is_whole(part) for part in parts)

    def test_an_order_moves_with_its_appointment_step_and_exam(self) -> None:
        pairs = set(
            Appointment.objects.filter(status__in=LIVE).values_list(
                "status", "order__status", "steps__status"
            )
        )
        assert pairs <= {
            ("booked", "scheduled", "scheduled"),
            ("confirmed", "scheduled", "scheduled"),
            ("arrived", "scheduled", "arrived"),
            ("ready", "scheduled", "ready"),
            ("fulfilled", "in_progress", "started"),
            ("fulfilled", "performed", "completed"),
            ("fulfilled", "reported", "completed"),
            ("fulfilled", "discontinued", "discontinued"),
        }

    def test_nothing_has_happened_later_than_now_nor_before_it_was_asked(self) -> None:
        assert not Event.objects.filter(at__gt=timezone.now()).exists()
        for exam in Exam.objects.select_related("order"):
            assert exam.order.ordered_at < exam.started_at
            assert exam.ended_at is None or exam.started_at < exam.ended_at <= TUESDAY

    def test_facts_of_the_last_days_are_in_the_trail_and_bulk_facts_wait_for_nobody(self) -> None:
        signed = Event.objects.filter(kind="report.signed").order_by("-at").first()
        assert signed is not None
        assert AuditEvent.objects.filter(details__event=signed.pk, subject=signed.subject).exists()
        assert not Delivery.objects.filter(event=signed).exists()

    def test_the_next_number_is_a_new_one(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT last_value FROM core_accession")
            (last,) = cursor.fetchone()
        assert (
            max(int(number[-7:]) for number in Order.objects.values_list("accession_number", flat=True))
            <= last
        )
        assert ScheduledProcedureStep.objects.exists()

    def test_modalities_have_reported_steps_some_of_which_fit_no_order(self) -> None:
        assert PerformedProcedureStep.objects.exclude(problem="").count() == 3
        assert PerformedProcedureStep.objects.filter(problem="", exams__isnull=False).exists()

    def test_the_monitor_shows_messages_taken_refused_waiting_and_answered(self) -> None:
        inbound = apps.get_model("interfaces", "InboundMessage").objects
        outbound = apps.get_model("interfaces", "OutboundMessage").objects
        assert {"processed", "rejected"} <= set(inbound.values_list("status", flat=True))
        assert {"ADT^A04", "ADT^A08", "ORM^O01"} <= set(inbound.values_list("type", flat=True))
        assert {"queued", "accepted", "rejected"} <= set(outbound.values_list("status", flat=True))
        partner = apps.get_model("interfaces", "Endpoint").objects.get(name="DEMO EMR")
        assert partner.paused

    def test_something_of_every_stage_hangs_and_no_list_is_flooded(self) -> None:
        found = look(User.objects.get(username="admin"), now=TUESDAY)
        hangs = Counter(item.kind.name for item in found.items)
        assert hangs.keys() >= {
            "order.booking",
            "exam.unstarted",
            "exam.running",
            "exam.unread",
            "exam.images",
        }, hangs
        assert not found.cut, hangs
        words = [item.words for item in found.items if item.kind.name == "exam.running"]
        assert any("212 images in the archive since" in one for one in words), words
        assert StationTwin.objects.filter(ae_title="MG1").exists()

    def test_a_second_run_changes_nothing_and_is_quick(self) -> None:
        before = Event.objects.count()
        with CaptureQueriesContext(connection) as queries:
            seed_demo(7, print, patients=300, now=TUESDAY)
        assert len(queries) <= 6
        assert Event.objects.count() == before


@pytest.mark.django_db
def test_on_a_sunday_night_the_emergency_room_keeps_the_board_and_the_reading_list_alive() -> None:
    seed_bare("a password for tests")
    seed_demo(3, lambda line: None, patients=200, now=SUNDAY_NIGHT)
    hour = timedelta(hours=1)
    near = Appointment.objects.filter(
        during__overlap=(SUNDAY_NIGHT - hour, SUNDAY_NIGHT + hour), status__in=LIVE
    )
    assert near.count() >= 5
    assert {"stat", "asap"} <= set(near.values_list("order__priority", flat=True))
    assert Exam.objects.filter(status="in_progress").exists()
    assert Exam.objects.filter(status="completed", reported=None).count() >= 10
    monday = SUNDAY_NIGHT.replace(hour=0, minute=0) + timedelta(days=1)
    assert Appointment.objects.filter(during__overlap=(monday, monday + timedelta(days=1))).count() >= 10


@pytest.mark.django_db
def test_with_2000_patients_every_room_is_filled_from_70_to_95_percent() -> None:
    seed_bare("a password for tests")
    planner = _planner()
    taken: Counter[str] = Counter()
    for case in planner.cases():
        if case.room and case.start and case.stage != "cancelled" and _in_hours(case.room, case.start):
            taken[case.room.code] += case.exam.duration_minutes
    days = [TUESDAY.date() + timedelta(days=offset) for offset in range(-7, 29)]
    for room in planner.rooms:
        spans = [span for day in days for span in opening_spans(room, day)]
        offered = sum((until - since).total_seconds() / 60 for since, until in spans)
        assert 0.70 <= taken[room.code] / offered <= 0.95, room.code


def _planner() -> Planner:
    patients = [
        Patient(pk=pk, **vars(one.name), sex=one.sex, birth_date=one.birth_date)
        for pk, one in enumerate(invent_people(Random(1), 2000, on=TUESDAY.date()), start=1)
    ]
    rooms = list(Room.objects.select_related("facility").prefetch_related("openings"))
    exams = list(ProcedureType.objects.all())
    return Planner(Random(1), TUESDAY, zone=ZONE, rooms=rooms, exams=exams, patients=patients, blocks={})


def _in_hours(room: Room, start: datetime) -> bool:
    return any(since <= start < until for since, until in opening_spans(room, start.astimezone(ZONE).date()))


@pytest.mark.django_db
def test_the_same_number_invents_the_same_department_and_another_one_another() -> None:
    day = TUESDAY.date()
    assert invent_people(Random("1"), 200, on=day) == invent_people(Random("1"), 200, on=day)
    assert invent_people(Random("1"), 200, on=day) != invent_people(Random("2"), 200, on=day)


@pytest.mark.django_db
def test_where_patients_are_the_invented_ones_stay_out() -> None:
    seed_bare("a password for tests")
    Patient.objects.create(family="Real", search="REAL")
    said: list[str] = []
    seed_demo(1, said.append, patients=100, now=TUESDAY)
    assert said == ["There are patients here already; the invented ones stay out."]
    assert Patient.objects.count() == 1
