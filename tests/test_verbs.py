"""The workflow from asked to owed, by verbs alone."""

import pytest

from billing.models import Charge
from ris.core.errors import Conflict, IllegalTransition, MissingData
from ris.events.models import Delivery, Event
from ris.events.outbox import relay_all
from ris.exams import actions as exams
from ris.reporting import actions as reporting
from ris.reporting.signing import is_whole
from scheduling import actions as scheduling
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


def test_an_order_is_asked_planned_done_read_and_owed() -> None:
    appointment = makers.make_appointment()
    appointment = scheduling.check_in(appointment, by=person("clara"))
    order = appointment.order
    (exam,) = exams.start_exam(order, by=person("theo"))
    exam = exams.complete_exam(exam, by=person("theo"))
    report = makers.make_report(exam, signed=True)
    order.refresh_from_db()
    assert order.status == "reported"
    relay_all()
    assert not Delivery.objects.filter(done_at=None, subscriber__startswith="billing").exists()
    assert sorted(Charge.objects.values_list("component", flat=True)) == ["professional", "technical"]
    assert is_whole(report.parts.get())
    assert list(Event.objects.filter(subject=order.subject).order_by("id").values_list("kind", flat=True))[:8] == [
        "order.placed", "appointment.booked", "patient.arrived", "exam.started", "exam.completed", "report.opened",
        "report.signed", "charge.captured",
    ]  # fmt: skip


def test_a_patient_cannot_arrive_twice() -> None:
    appointment = scheduling.check_in(makers.make_appointment(), by=person("clara"))
    before = Event.objects.count()
    with pytest.raises(IllegalTransition):
        scheduling.check_in(appointment, by=person("clara"))
    assert Event.objects.count() == before


def test_a_check_in_from_a_stale_row_is_refused() -> None:
    appointment = makers.make_appointment()
    seen = appointment.version
    scheduling.confirm(appointment, by=person("clara"))
    with pytest.raises(Conflict, match="Somebody changed this appointment"):
        scheduling.check_in(appointment, by=person("clara"), version=seen)
    appointment.refresh_from_db()
    assert appointment.status == "confirmed"


def test_a_room_is_not_double_booked() -> None:
    taken = makers.make_appointment()
    with pytest.raises(Conflict, match=r"Somebody booked .* Next that fits"):
        makers.make_appointment(start=taken.starts_at, by=person("clara"))


def test_a_report_is_signed_once() -> None:
    report = makers.make_report()
    version = report.draft.version
    reporting.sign_report(report, version=version, by=person("rita"))
    with pytest.raises(IllegalTransition, match="signed by"):
        reporting.sign_report(report, version=version, by=person("rita"))


def test_the_impression_is_needed_to_sign() -> None:
    report = makers.make_report(impression="")
    with pytest.raises(MissingData, match="impression"):
        reporting.sign_report(report, version=report.draft.version, by=person("rita"))


def test_an_addendum_is_a_further_part() -> None:
    report = makers.make_report(signed=True)
    reporting.begin_addendum(report, by=person("rita"))
    report.refresh_from_db()
    draft = reporting.save_draft(
        report,
        [{"code": "55107-7", "title": "Addendum", "text": "Compared with 2024."}],
        version=1,
        by=person("rita"),
    )
    reporting.sign_report(report, version=draft.version, by=person("rita"))
    report.refresh_from_db()
    assert report.status == "addended"
    assert list(report.parts.values_list("kind", flat=True)) == ["final", "addendum"]


def test_undoing_a_start_puts_the_order_back_on_the_worklist() -> None:
    appointment = makers.make_appointment()
    (exam,) = exams.start_exam(appointment.order, by=person("theo"))
    exams.undo_start(exam, by=person("theo"))
    appointment.refresh_from_db()
    appointment.order.refresh_from_db()
    assert (appointment.status, appointment.order.status) == ("arrived", "scheduled")
    assert appointment.steps.get().status == "arrived"


def test_cancelling_an_order_takes_its_plan_with_it() -> None:
    appointment = makers.make_appointment()
    scheduling.cancel_order(appointment.order, reason="Duplicate", by=person("clara"))
    appointment.refresh_from_db()
    assert appointment.status == "cancelled"
    assert appointment.steps.get().status == "cancelled"
    restored = makers.make_appointment(start=appointment.starts_at)
    assert restored.status == "booked"
