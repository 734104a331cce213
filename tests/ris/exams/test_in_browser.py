"""The technologist's part, as done at the machine."""

import re
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from playwright.sync_api import Locator, Page, expect

from ris.core.formats import today
from ris.exams.actions import NewPerformedStep, ScheduledReference, begin_performed_step, note_dose
from ris.exams.actions.events import note_event, withdraw_event
from ris.exams.actions.messages import send_message
from ris.exams.models import DoseReferenceLevel, Exam
from ris.supplies.actions import receive_stock
from scheduling.actions import check_in, make_ready
from scheduling.models import Appointment
from tests import makers
from tests.browser import OpenAs, accessibility_faults, faults_in_both_themes, photograph, scan
from tests.cast import person
from tests.ris.exams.test_exam_page import SERIES

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.django_db(transaction=True)]
TABLET = {"width": 820, "height": 1180}
#: Every target of a page that is smaller than a gloved finger, but for links within a sentence.
_SMALL = """all => all.filter(e => e.checkVisibility() && !e.closest(".vh, .skip"))
    .map(e => [e.getBoundingClientRect(), e])
    .filter(([box]) => box.height > 0 && (box.height < 43.5 || box.width < 43.5))
    .map(([box, e]) => `${Math.round(box.width)}x${Math.round(box.height)} ${e.outerHTML.slice(0, 110)}`)"""
_TARGETS = (
    "button, a.btn, summary, select, textarea, input:not([type=hidden], [type=radio], [type=checkbox]), .pick, .check,"
    ".seg a, .nav a"
)


class Hands:
    """Counts what ux.md 1.2 counts: a tap, a field filled, a chord, a scan."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.count = 0

    def tap(self, target: Locator) -> None:
        self.count += 1
        target.click()

    def choose(self, chip: Locator) -> None:
        self.count += 1
        chip.check()

    def fill(self, target: Locator, text: str) -> None:
        self.count += 1
        target.fill(text)

    def press(self, keys: str) -> None:
        self.count += 1
        self.page.keyboard.press(keys)

    def scan(self, text: str) -> None:
        self.count += 1
        _scan(self.page, text)

    def took(self) -> int:
        """How many since the last time."""
        count, self.count = self.count, 0
        return count


def _fits_a_tablet(page: Page, name: str) -> None:
    photograph(page, f"{name}-tablet")
    found = page.eval_on_selector_all(_TARGETS, _SMALL) + accessibility_faults(page)
    assert (found, page.evaluate("document.documentElement.scrollWidth")) == ([], TABLET["width"])


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


def _reported(exam: Exam) -> None:
    begin_performed_step(
        NewPerformedStep(
            "1.2.3", "CT1", "CT", timezone.now(), (ScheduledReference(exam.procedure.study_instance_uid),),
            patient_id="004417268", attributes=SERIES,
        ),
        by=person("epic"),
    )  # fmt: skip


def test_an_exam_on_the_tablet_from_the_wristband_to_complete(
    open_as: OpenAs, room: list[Appointment]
) -> None:
    """ux.md 1.2, ux-tech-touch: every act within its count, every target as large as a gloved finger."""
    receive_stock(makers.make_item(), "4471", today() + timedelta(days=400), Decimal(10), by=person("theo"))
    page = open_as(person("theo"), "/rooms/CT1")
    page.set_viewport_size(TABLET)
    hands = Hands(page)
    _fits_a_tablet(page, "room")
    hands.scan("004417268")
    expect(page.get_by_text("The wristband is this patient's.")).to_be_visible()
    _fits_a_tablet(page, "start")
    hands.tap(page.get_by_role("button", name="Start"))
    expect(page.get_by_role("button", name="Complete")).to_be_visible()
    assert hands.took() <= 2
    exam = Exam.objects.get(order=room[0].order)

    contrast = page.locator("#contrast")
    hands.scan(f"01{makers.GTIN}17{today() + timedelta(days=400):%y%m%d}104471")
    expect(contrast).to_contain_text("4471")
    hands.fill(contrast.get_by_label("Volume"), "70")
    hands.choose(contrast.get_by_label("L antecubital"))
    _fits_a_tablet(page, "contrast")
    hands.tap(contrast.get_by_role("button", name="Save"))
    expect(contrast.locator(".given")).to_contain_text("70 mL")
    assert hands.took() <= 6

    events = page.locator("#events")
    hands.tap(events.get_by_text("Repeat", exact=True))
    _fits_a_tablet(page, "exam-repeat")
    hands.tap(events.get_by_role("button", name="Patient moved"))
    expect(events.locator(".happened")).to_contain_text("Images repeated: 1, patient moved")
    assert hands.took() <= 2
    hands.tap(events.get_by_text("Reaction", exact=True))
    hands.tap(events.get_by_role("button", name="Mild"))
    expect(events.locator(".happened")).to_contain_text("Reaction, mild")
    assert hands.took() <= 2

    hands.tap(page.get_by_role("link", name="Talk"))
    hands.fill(page.get_by_label("Ask the radiologist"), "Rash at the arm. Go on with the late phase?")
    hands.press("Enter")
    expect(page.locator("#talk-lines")).to_contain_text("not seen yet")
    assert hands.took() <= 3
    _fits_a_tablet(page, "talk")
    send_message(exam.order, "Yes, and watch for 30 minutes.", by=person("rita"))
    expect(page.locator("#talk-lines")).to_contain_text("watch for 30 minutes")
    page.get_by_role("link", name="Close").click()

    makers.make_procedure_type("CTCAP", name="CT chest, abdomen and pelvis", body_part="Abdomen")
    hands.tap(page.get_by_role("link", name="Change the exam"))
    hands.choose(page.get_by_label("CT chest, abdomen and pelvis"))
    hands.choose(page.get_by_label("Radiologist asked for it"))
    _fits_a_tablet(page, "change")
    hands.tap(page.get_by_role("button", name="Save"))
    expect(page.get_by_role("heading", name="CT chest, abdomen and pelvis", level=1)).to_be_visible()
    assert hands.took() <= 4

    _reported(exam)
    expect(page.locator("#complete [name=image_count]")).to_have_value("5")
    _fits_a_tablet(page, "exam")
    hands.tap(page.get_by_role("button", name="Complete"))
    expect(page.get_by_role("heading", name="CT 1")).to_be_visible()
    assert hands.took() <= 3
    exam.refresh_from_db()
    assert (exam.status, exam.image_count) == ("completed", 5)


def test_an_exam_at_the_desk_is_started_by_birth_year_and_stopped(
    open_as: OpenAs, room: list[Appointment]
) -> None:
    """ux-start-wrong-patient; start without scan in 3, discontinue in 3."""
    page = open_as(person("theo"), "/rooms/CT1")
    photograph(page, "room")
    hands = Hands(page)
    hands.tap(page.locator(f"#appt-{room[0].pk}").get_by_role("link", name="Start"))
    _scan(page, "004417286")
    expect(page.locator(".hardstop")).to_contain_text(
        "Wristband says TODD, Liam, MRN 004 417 286. This exam is for OKAFOR, Adaeze"
    )
    expect(page.locator(".hardstop").get_by_role("link", name="Open the other patient")).to_be_visible()
    photograph(page, "start-wrong-wristband")
    assert accessibility_faults(page) == []
    page.get_by_role("button", name="Start").click()
    expect(
        page.get_by_text("Scan the wristband, or type the birth year the patient says.").first
    ).to_be_visible()
    assert not Exam.objects.filter(order=room[0].order).exists()
    hands.fill(page.get_by_label("Birth year"), "1968")
    photograph(page, "start")
    hands.press("Control+Enter")
    expect(page.get_by_role("button", name="Complete")).to_be_visible()
    assert hands.took() <= 3
    photograph(page, "exam")
    hands.press("x")
    hands.choose(page.get_by_label("Equipment failure"))
    photograph(page, "exam-stop")
    hands.press("Control+Enter")
    expect(page.get_by_role("heading", name="CT 1")).to_be_visible()
    assert hands.took() <= 3
    assert Exam.objects.get(order=room[0].order).discontinuation_code == "110501"
    row = page.locator(f"#appt-{room[2].pk}")
    expect(row).to_contain_text("Scheduled")
    check_in(room[2], by=person("clara"))
    expect(row).to_contain_text("Arrived")


def test_the_technologists_pages_can_be_read_by_everybody(open_as: OpenAs, room: list[Appointment]) -> None:
    begin_performed_step(
        NewPerformedStep("1.9", "CT1", "CT", timezone.now(), (), patient_name="OKAFOR^ADAEZE", patient_id="4417268",
                         attributes=SERIES),
        by=person("epic"),
    )  # fmt: skip
    exam = Exam.objects.get(status="in_progress")
    theo = person("theo")
    _reported_dose(exam)
    note_event(exam, "repeated", reason="exposure", image_count=2, by=theo)
    note_event(exam, "extravasation", severity="mild", text="10 mL", by=theo)
    withdraw_event(note_event(exam, "moved", by=theo), reason="Other patient", by=theo)
    send_message(exam.order, "Clip in the scalp. Go on?", urgent=True, by=theo)
    for one in room:
        one.order.transport = "PORT"
        one.order.save(update_fields=["transport"])
    faults = {}
    pages = [
        ("/rooms", "rooms"), ("/rooms/CT1", "room"), ("/rooms/portable", "portable"),
        (f"/orders/{room[0].order_id}/start", "start"), (f"/exams/{exam.pk}", "exam"),
        ("/exams/quality", "quality"),
    ]  # fmt: skip
    pages += [
        (f"/exams/{exam.pk}/discontinue", "stop"), (f"/exams/{exam.pk}/dose", "dose"),
        (f"/orders/{room[0].order_id}/label", "label"), (f"/orders/{room[0].order_id}/wristband", "wristband"),
        (f"/exams/{exam.pk}/dose-card", "dose-card"), (f"/orders/{exam.order_id}/attendance", "attendance"),
    ]  # fmt: skip
    for path, name in pages:
        page = open_as(theo, path, theme="light")
        if found := faults_in_both_themes(page, name):
            faults[path] = found
        if name in _PAPER and _sheets(page) != [_PAPER[name]]:
            faults[f"{path} on paper"] = [str(_sheets(page))]
        page.close()
    assert faults == {}
    page = open_as(person("rita"), "/reading", theme="light")
    page.get_by_role("link", name="1 question · 1 urgent").click()
    page.get_by_role("link", name="Answer").click()
    expect(page.locator("#talk-lines")).to_contain_text("Clip in the scalp")
    assert faults_in_both_themes(page, "answer") == []
    page.get_by_role("button", name="Seen").click()
    expect(page.locator("#talk-lines .seen")).to_contain_text("Rita Radiologist")


#: Width and height in millimetres (ux.md 2.22).
_PAPER = {"label": (57, 32), "wristband": (254, 25), "dose-card": (148, 105), "attendance": (148, 105)}


def _sheets(page: Page) -> list[tuple[int, int]]:
    """The sizes of the sheets the page prints on."""
    boxes = re.findall(rb"/MediaBox\s*\[([^\]]+)\]", page.pdf(prefer_css_page_size=True))
    return [
        (round(float(w) / 72 * 25.4), round(float(h) / 72 * 25.4)) for _, _, w, h in map(bytes.split, boxes)
    ]


def _reported_dose(exam: Exam) -> None:
    DoseReferenceLevel.objects.create(
        modality="CT", quantity="dlp_mgycm", value=900, source="Own practice 2025", valid_from="2025-01-01"
    )
    note_dose(exam, source="typed", ctdivol_mgy=Decimal("71.4"), dlp_mgycm=Decimal(1120), by=person("theo"))
