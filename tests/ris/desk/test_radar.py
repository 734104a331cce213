"""The radar: each kind of being stuck is found with its cause, and gone after the click that puts it right."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from interfaces.actions import save_endpoint
from interfaces.models import OutboundMessage
from interfaces.states import OutboundState
from ris.core.errors import BadValue, MissingData, NotAllowed
from ris.core.stuck import kinds
from ris.desk import radar_actions
from ris.desk.models import RadarNote
from ris.desk.radar import Item, Look, look, waiting_for
from ris.events.outbox import relay_all
from ris.exams import actions as exams
from ris.exams.actions import NewImages, NewPerformedStep, ScheduledReference
from ris.exams.models import Exam, PerformedProcedureStep, StudyImages
from ris.orders import actions as orders
from ris.orders.models import Order
from ris.orders.states import OrderStatus
from ris.protocolling import actions as protocolling
from ris.protocolling.models import ProtocolRequest
from ris.reporting import actions as reporting
from ris.reporting.models import Draft, Report
from scheduling import actions as scheduling
from scheduling.models import Appointment
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db
NOW = timezone.now


def seen(user: str = "mona", **how: Any) -> list[Item]:
    return look(person(user), **how).items


def one(kind: str, user: str = "mona", **how: Any) -> Item:
    (found,) = seen(user, kind=kind, **how)
    return found


def later(**ago: float) -> datetime:
    """As if so much time had passed."""
    return NOW() + timedelta(**ago)


def click(item: Item, user: str) -> None:
    """What the button of the row does."""
    assert item.fix is not None
    client = Client()
    client.force_login(person(user))
    if item.fix.acts:
        answer = client.post(item.fix.url, {"back": "/radar", **item.fix.values})
        assert answer.status_code == 303, answer.content
    else:
        assert client.get(item.fix.url, follow=True).status_code == 200


def order_without_time() -> None:
    makers.make_order()


def unknown_code() -> None:
    makers.make_order(code="XRCHPAL", code_text="CHEST PA/LAT")


def held_order() -> None:
    orders.hold_order(makers.make_order(), reason="Waits for the consent form", by=person("clara"))


def booked_and_nobody_came() -> None:
    made = makers.make_appointment()
    past = DateTimeTZRange(NOW() - timedelta(minutes=10), NOW() + timedelta(minutes=20))
    Appointment.objects.filter(pk=made.pk).update(during=past)


def arrived_and_waiting() -> None:
    scheduling.check_in(makers.make_appointment(), by=person("clara"))


def left_running() -> None:
    archive_tells(makers.make_exam(), 212)
    exams.set_completion_rule("images", response="propose", minutes=0, by=person("ada"))


def archive_tells(exam: Exam, count: int) -> StudyImages:
    return exams.note_images(
        NewImages(
            exam.procedure.study_instance_uid, source="qido", series_count=3, instance_count=count
        ),
        by=person("epic"),
    )  # fmt: skip


def images_of_an_order_nobody_began() -> None:
    appointment = makers.make_appointment()
    procedure = appointment.order.procedures.get()
    exams.note_images(
        NewImages(procedure.study_instance_uid, source="qido", series_count=1, instance_count=4), by=person("epic")
    )  # fmt: skip


def step_of_no_order() -> None:
    makers.make_room()
    exams.begin_performed_step(
        NewPerformedStep("1.2.3", "CT1", "CT", NOW(), (ScheduledReference("1.2.99"),)), by=person("epic")
    )


def study_of_no_order() -> None:
    exams.note_images(NewImages("1.2.4", source="qido", instance_count=9), by=person("epic"))


def completed_without_images() -> None:
    study_of_no_order()  # an archive is asked here
    makers.make_exam(completed=True)


def unread() -> None:
    makers.make_exam(completed=True)


def draft() -> None:
    makers.make_report()


def preliminary() -> None:
    report = makers.make_report()
    reporting.make_preliminary(report, version=report.draft.version, by=person("rita"))


def unfinished_addendum() -> None:
    report = makers.make_report(signed=True)
    reporting.begin_addendum(report, by=person("rita"))


def result_without_answer() -> None:
    report = makers.make_report(signed=True)
    order = Order.objects.get(exams__reported__report=report)
    his = save_endpoint(
        "HIS",
        {"direction": "out", "address": "127.0.0.1:9", "facts": ["results"], "paused": True},
        by=person("ada"),
    )
    OutboundMessage.objects.create(
        endpoint=his, purpose="result", type="ORU^R01", key=order.subject, control_id="X1", raw=b"MSH|",
        status=OutboundState.QUEUED, accession_number=order.accession_number, patient=order.patient,
    )  # fmt: skip


def protocol_wanted() -> None:
    makers.make_protocol_request()


def referrer_asked() -> None:
    protocolling.ask_referrer(makers.make_protocol_request(), "Which side?", by=person("rita"))


def decide() -> None:
    protocolling.approve_protocol(ProtocolRequest.objects.get(), makers.make_protocol(), by=person("rita"))


def answer() -> None:
    orders.release_order(Order.objects.get(), by=person("clara"))
    relay_all()


def book() -> None:
    scheduling.book(
        Order.objects.get(), room=makers.make_room(), start=makers.next_hour(2), by=person("clara")
    )


def match_code() -> None:
    procedure = Order.objects.get().procedures.get()
    orders.map_procedure(procedure, makers.make_procedure_type(), by=person("clara"))


def sign() -> None:
    report = Report.objects.get()
    reporting.sign_report(report, version=Draft.objects.get().version, by=person("rita"))


def discard() -> None:
    reporting.discard_draft(Report.objects.get(), by=person("rita"))


def match_step() -> None:
    step = PerformedProcedureStep.objects.get()
    exams.match_performed_step(step, makers.make_order(), by=person("theo"))


def start() -> None:
    exams.start_exam(Appointment.objects.get().order, by=person("theo"))


def images_come() -> None:
    archive_tells(Exam.objects.get(), 100)


def discard_study() -> None:
    exams.discard_images(StudyImages.objects.get(), reason="A phantom", by=person("theo"))


def partner_answers() -> None:
    OutboundMessage.objects.update(status=OutboundState.SENT)
    OutboundMessage.objects.update(status=OutboundState.ACCEPTED, answered_at=NOW())


#: Kind; how it gets stuck; how long after; whose radar; words of the cause; what is done behind the fix's page.
Behind = Callable[[], None] | None
CASES: list[tuple[str, Callable[[], None], dict[str, float], str, str, Behind]] = [
    ("order.code", unknown_code, {"days": 4}, "clara", "XRCHPAL, which is in no catalogue", match_code),
    ("order.booking", order_without_time, {"days": 15}, "clara", "nobody has booked it", book),
    ("order.held", held_order, {"days": 3}, "clara", "It is held: Waits for the consent form", None),
    ("protocol.wanted", protocol_wanted, {"days": 5}, "rita", "nobody has decided it", decide),
    ("protocol.asked", referrer_asked, {"days": 5}, "rita", "The referrer was asked: Which side?", answer),
    ("appointment.not_come", booked_and_nobody_came, {"hours": 3}, "clara", "nobody has checked in", None),
    ("appointment.waiting", arrived_and_waiting, {"hours": 3}, "theo", "CT 1 has not begun", start),
    ("exam.unstarted", images_of_an_order_nobody_began, {"minutes": 30}, "theo", "Nobody started it; 4 images", None),
    ("exam.running", left_running, {"hours": 2}, "theo", "212 images in the archive since", None),
    ("step.unmatched", step_of_no_order, {"minutes": 20}, "theo", "CT1 did it. It names no order", match_step),
    ("images.unmatched", study_of_no_order, {"hours": 1}, "theo", "9 images.", None),
    ("exam.images", completed_without_images, {"hours": 1}, "theo", "the archive has no image of it", images_come),
    ("exam.unread", unread, {"days": 2}, "rita", "nobody has begun to read them", None),
    ("report.draft", draft, {"days": 2}, "rita", "Rita Radiologist began the report", sign),
    ("report.preliminary", preliminary, {"days": 2}, "rita", "no radiologist has signed it", sign),
    ("report.addendum", unfinished_addendum, {"days": 2}, "rita", "began an addendum", discard),
    ("result.unacknowledged", result_without_answer, {"hours": 2}, "ada", "line to HIS is paused", partner_answers),
]  # fmt: skip


def test_every_kind_is_tried() -> None:
    assert {kind for kind, *_ in CASES} == set(kinds())


@pytest.mark.parametrize("case", CASES, ids=[kind for kind, *_ in CASES])
def test_what_is_stuck_is_found_with_its_cause_and_put_right_by_the_click(
    case: tuple[str, Callable[[], None], dict[str, float], str, str, Behind],
) -> None:
    kind, gets_stuck, ago, user, words, behind = case
    gets_stuck()
    assert seen(kind=kind, now=NOW() - timedelta(minutes=1)) == []
    when = later(**ago)
    item = one(kind, user, mine=True, now=when)
    assert words in item.words
    assert item.due_at <= when
    click(item, user)
    if behind is not None:
        behind()
    if kind != "images.unmatched":
        assert seen(kind=kind, now=when) == []


def test_stat_is_late_before_routine_and_stands_first() -> None:
    makers.make_order(priority="stat")
    assert [item.priority for item in seen(kind="order.booking", now=later(hours=2))] == ["stat"]
    makers.make_order()
    assert [item.priority for item in seen(kind="order.booking", now=later(days=16))] == ["stat", "routine"]


def test_a_site_has_its_own_deadlines_and_may_watch_no_further() -> None:
    here = makers.make_facility()
    other = makers.make_facility(code="NORTH", name="North Pier")
    makers.make_order()
    makers.make_order(facility=other)
    radar_actions.set_deadline("order.booking", other, routine=60, urgent=30, stat=5, by=person("ada"))
    assert [item.facility for item in seen(kind="order.booking", now=later(hours=2))] == ["North Pier"]
    radar_actions.set_deadline(
        "order.booking", other, routine=60, urgent=30, stat=5, active=False, by=person("ada")
    )
    when = later(days=16)
    assert [item.facility for item in seen(kind="order.booking", now=when)] == [here.name]
    radar_actions.usual_deadline("order.booking", other, by=person("ada"))
    assert len(seen(kind="order.booking", now=when)) == 2
    assert len(seen(kind="order.booking", site=other.pk, now=when)) == 1
    with pytest.raises(BadValue):
        radar_actions.set_deadline("order.booking", None, routine=5, urgent=30, stat=1, by=person("ada"))


def test_a_night_does_not_count_where_only_opening_hours_do() -> None:
    """Four open hours: asked at 18:00 with the doors closing at 19:00, it is late at 10:00, not at 22:00."""
    room = makers.make_room()
    scheduling.set_openings(
        room, [(day, datetime(2026, 1, 1, 7).time(), datetime(2026, 1, 1, 19).time()) for day in range(7)],
        by=person("ada"),
    )  # fmt: skip
    evening = makers.next_hour().replace(hour=18)
    order = makers.make_order(code="XRCHPAL", ordered_at=evening)
    assert seen(kind="order.code", now=evening + timedelta(hours=5)) == []
    item = one("order.code", now=evening + timedelta(hours=17))
    assert (item.due_at, item.row.accession) == (evening + timedelta(hours=16), order.accession_number)


def test_what_sleeps_comes_back_by_itself_and_says_why() -> None:
    makers.make_order()
    clara, when = person("clara"), later(days=15)
    item = one("order.booking", "clara", now=when)
    radar_actions.take("order.booking", item.row.id, by=clara)
    assert one("order.booking", "clara", now=when).owner == clara
    until = NOW() + timedelta(hours=4)
    radar_actions.snooze("order.booking", item.row.id, until=until, reason="Patient calls back", by=clara)
    assert seen("clara", now=until - timedelta(minutes=1), snoozed=False) == []
    radar_actions.set_deadline("order.booking", None, routine=1, urgent=1, stat=1, by=person("ada"))
    asleep = one("order.booking", "clara", snoozed=True, now=until - timedelta(minutes=1))
    assert asleep.snoozed is not None
    assert asleep.snoozed.reason == "Patient calls back"
    assert one("order.booking", "clara", now=until + timedelta(minutes=1)).snoozed is None
    radar_actions.wake("order.booking", item.row.id, by=clara)
    assert one("order.booking", "clara", now=until - timedelta(minutes=1)).owner == clara
    assert RadarNote.objects.count() == 3
    for wrong, problem in (({"reason": " "}, MissingData), ({"until": NOW() - timedelta(1)}, BadValue)):
        how: dict[str, Any] = {"until": until, "reason": "Later", **wrong}
        with pytest.raises(problem):
            radar_actions.snooze("order.booking", item.row.id, by=clara, **how)
    with pytest.raises(NotAllowed):
        radar_actions.take("order.booking", item.row.id, by=person("rita"))


def test_each_role_counts_what_it_puts_right_itself() -> None:
    makers.make_exam(completed=True)
    step_of_no_order()
    Exam.objects.update(ended_at=NOW() - timedelta(days=2))
    PerformedProcedureStep.objects.update(received_at=NOW() - timedelta(hours=1))
    assert {name: waiting_for(person(name)) for name in ("rita", "theo", "ada", "clara")} == {
        "rita": 1, "theo": 1, "ada": 1, "clara": 0,
    }  # fmt: skip
    assert {item.kind.name for item in look(person("clara"), role="radiologist").items} == {"exam.unread"}


def test_the_page_lists_late_things_without_a_query_for_each(client: Client) -> None:
    """The administrator, who may not open charts, sees no name."""

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as caught:
            assert client.get("/radar?view=all").status_code == 200
        return len(caught)

    exam = makers.make_exam(completed=True)
    client.force_login(person("mona"))
    Exam.objects.update(ended_at=NOW() - timedelta(days=2))
    queries()
    few = queries()
    for _ in range(4):
        makers.make_exam(completed=True)
    Exam.objects.update(ended_at=NOW() - timedelta(days=2))
    assert queries() == few
    page = client.get("/radar?view=all").content.decode()
    assert "OKAFOR" in page
    assert exam.order.accession_number in page
    client.force_login(person("ada"))
    hidden = client.get("/radar?view=all").content.decode()
    assert "OKAFOR" not in hidden
    assert exam.order.accession_number in hidden
    same = client.get("/radar?view=all")
    version = same.context["version"]
    live = client.get(f"/radar?view=all&since={version}", headers={"X-Live": "1"})
    assert live.status_code in {204, 200}  # the minute may have turned
    assert "Nothing is stuck" in client.get("/radar?view=mine").content.decode()


def test_every_kind_finds_its_rows_by_index(many_done: None) -> None:
    """20,000 orders that are over: what waits is found without reading them."""
    late = NOW() + timedelta(days=1)
    with connection.cursor() as cursor:
        for kind in kinds().values():
            cursor.execute(f"EXPLAIN {kind.sql}", {"now": late, "before": late})
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "Seq Scan on orders_order" not in plan, (kind.name, plan)
            assert "Seq Scan on exams_exam" not in plan, (kind.name, plan)


@pytest.fixture
def many_done() -> None:
    by, facility, patient, kind = (
        person("mona"), makers.make_facility(), makers.make_patient(), makers.make_procedure_type(),
    )  # fmt: skip
    made = Order.objects.bulk_create(
        Order(
            facility=facility, patient=patient, accession_number=f"A{number}", status=OrderStatus.REPORTED,
            ordered_at=NOW() - timedelta(minutes=number), entered_by=by,
        )
        for number in range(20_000)
    )  # fmt: skip
    procedures = makers_procedures(made, kind)
    Exam.objects.bulk_create(
        Exam(order=order, procedure=procedure, status="completed", started_at=NOW(), ended_at=NOW())
        for order, procedure in zip(made, procedures, strict=True)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def makers_procedures(made: list[Order], kind: Any) -> list[Any]:
    from ris.orders.models import RequestedProcedure

    return RequestedProcedure.objects.bulk_create(
        RequestedProcedure(
            order=order, procedure_type=kind, code=kind.code, study_instance_uid=f"1.2.{order.pk}",
            requested_procedure_id=f"R{order.pk}",
        )
        for order in made
    )  # fmt: skip


def test_a_look_has_a_version_that_changes_with_it() -> None:
    before: Look = look(person("mona"), now=later(days=15))
    makers.make_order()
    after = look(person("mona"), now=before.at)
    assert before.version != after.version
