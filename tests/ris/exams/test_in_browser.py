"""The technologist's part, as done at the machine."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from ris.exams.actions import NewPerformedStep, ScheduledReference, begin_performed_step
from ris.exams.models import Exam
from scheduling.actions import check_in, make_ready
from scheduling.models import Appointment
from tests import makers
from tests.browser import OpenAs, accessibility_faults, photograph, scan
from tests.cast import person
from tests.ris.exams.test_exam_page import SERIES

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.django_db(transaction=True)]
TABLET = {"width": 820, "height": 1180}


def _evening(hour: int, minute: int = 0) -> datetime:
    return makers.next_hour(0).replace(hour=hour, minute=minute)


@pytest.fixture
def room(db: None) -> list[Appointment]:
    """CT 1 with one patient in it, three to come, one STAT add-on and one done."""
    clara = person("clara")
    kind = makers.make_procedure_type(
        "CTABD", name="CT abdomen and pelvis", body_part="Abdomen", contrast=True
    )
    for place, (family, given) in enumerate([("Bauer", "Ingrid"), ("Rossi", "Carla")]):
        order = makers.make_order(patient=makers.make_patient(family, given))
        appointment = makers.make_appointment(order, start=_evening(20, 30 * place))
        makers.make_exam(appointment.order, completed=not place)
    people = [
        makers.make_patient(
            "Okafor", "Adaeze", mrn="004417268", prefix="Mrs", allergies="Iodine contrast: rash 2019"
        ),
        makers.make_patient(
            "Todd", "Liam", mrn="004417286", sex="M", birth_date="1990-02-11", language="French"
        ),
        makers.make_patient("Todd", "Mary", mrn="004417287", birth_date="1961-12-01"),
    ]
    booked = [
        makers.make_appointment(
            makers.make_order(patient=one, procedure_type=kind),
            start=_evening(22, 0) + timedelta(minutes=30 * place),
        )
        for place, one in enumerate(people)
    ]
    make_ready(check_in(booked[0], by=clara), by=clara)
    check_in(booked[1], by=clara)
    makers.make_order(patient=makers.make_patient("Klein", "Otto", sex="M"), priority="stat")
    return booked


def _scan(page: Page, text: str) -> None:
    page.evaluate("document.activeElement?.blur()")
    scan(page, text, enter=True)


def test_an_exam_is_started_by_wristband_and_completed(open_as: OpenAs, room: list[Appointment]) -> None:
    page = open_as(person("theo"), "/rooms/CT1")
    photograph(page, "room")
    _scan(page, "004417268")
    expect(page.get_by_text("The wristband is this patient's.")).to_be_visible()
    photograph(page, "exam-start")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("button", name="Complete")).to_be_visible()
    exam = Exam.objects.get(order=room[0].order)
    begin_performed_step(
        NewPerformedStep(
            "1.2.3",
            "CT1",
            "CT",
            timezone.now(),
            (ScheduledReference(exam.procedure.study_instance_uid),),
            attributes=SERIES,
        ),
        by=person("epic"),
    )
    page.reload()
    page.get_by_label("Note for the reader").fill("Moved once.")
    photograph(page, "exam")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="CT 1")).to_be_visible()
    exam.refresh_from_db()
    assert (exam.status, exam.image_count, exam.comment) == ("completed", 5, "Moved once.")


def test_another_wristband_blocks_the_start_and_names_both(open_as: OpenAs, room: list[Appointment]) -> None:
    page = open_as(person("theo"), f"/orders/{room[0].order_id}/start")
    _scan(page, "004417286")
    stop = page.locator(".hardstop")
    expect(stop).to_contain_text(
        "Wristband says TODD, Liam, MRN 004 417 286. This exam is for OKAFOR, Adaeze"
    )
    photograph(page, "exam-wrong-wristband")
    page.get_by_role("button", name="Start").click()
    expect(
        page.get_by_text("Scan the wristband, or type the birth year the patient says.").first
    ).to_be_visible()
    assert not Exam.objects.filter(order=room[0].order).exists()
    assert accessibility_faults(page) == []


def test_the_exam_page_can_be_used_in_gloves(open_as: OpenAs, room: list[Appointment]) -> None:
    exam = Exam.objects.get(status="in_progress")
    for path, name in (
        (f"/exams/{exam.pk}", "exam"),
        ("/rooms/CT1", "room"),
        (f"/orders/{room[0].order_id}/start", "start"),
    ):
        page = open_as(person("theo"), path)
        page.set_viewport_size(TABLET)
        photograph(page, f"{name}-tablet")
        small = page.eval_on_selector_all(
            "main :is(button, a.btn, input:not([type=hidden], [type=radio]), textarea, .pick),"
            ".tools :is(a.btn, button, input:not([type=hidden]))",
            "all => all.filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 43.5)"
            ".map(e => e.outerHTML.slice(0, 90))",
        )
        assert small == []
        assert page.evaluate("document.documentElement.scrollWidth") <= TABLET["width"]


def test_an_exam_is_stopped_by_a_reason_chip(open_as: OpenAs, room: list[Appointment]) -> None:
    exam = Exam.objects.get(status="in_progress")
    page = open_as(person("theo"), f"/exams/{exam.pk}")
    page.keyboard.press("x")
    page.get_by_label("Equipment failure").check()
    photograph(page, "exam-stop")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="CT 1")).to_be_visible()
    exam.refresh_from_db()
    assert exam.discontinuation_code == "110501"


def test_the_list_shows_an_arrival_by_itself(open_as: OpenAs, room: list[Appointment]) -> None:
    page = open_as(person("theo"), "/rooms/CT1")
    row = page.locator(f"#appt-{room[2].pk}")
    expect(row).to_contain_text("Scheduled")
    check_in(room[2], by=person("clara"))
    expect(row).to_contain_text("Arrived")


@pytest.mark.parametrize("theme", ["light", "reading"])
def test_the_technologists_pages_can_be_read_by_everybody(
    open_as: OpenAs, room: list[Appointment], theme: str
) -> None:
    begin_performed_step(
        NewPerformedStep("1.9", "CT1", "CT", timezone.now(), (), patient_name="OKAFOR^ADAEZE", patient_id="4417268",
                         attributes=SERIES),
        by=person("epic"),
    )  # fmt: skip
    exam = Exam.objects.get(status="in_progress")
    for path, name in (
        ("/rooms", "rooms"), ("/rooms/CT1", "room"), (f"/orders/{room[0].order_id}/start", "start"),
        (f"/exams/{exam.pk}", "exam"), (f"/exams/{exam.pk}/discontinue", "stop"), ("/exams/unmatched", "unmatched"),
    ):  # fmt: skip
        page = open_as(person("theo"), path, theme=theme)
        photograph(page, f"{name}-{theme}")
        assert accessibility_faults(page) == [], path
    page.locator("[data-default]").first.click()
    expect(page.get_by_role("heading", name="Match to an order")).to_be_visible()
    photograph(page, f"match-{theme}")
    assert accessibility_faults(page) == []
