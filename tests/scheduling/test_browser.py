"""The front desk's part as people do it: by keys, in a browser."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from ris.core import formats
from ris.department.models import Room
from ris.exams import actions as exams
from ris.orders.models import Order
from scheduling import actions as scheduling
from scheduling.models import Appointment
from tests import makers
from tests.browser import OpenAs, faults_in_both_themes
from tests.cast import person

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.django_db(transaction=True)]
THEMES = ["light", "reading"]


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)
        page.wait_for_timeout(120)  # slower than a scanner: three keys within 50 ms are a scan


def order(family: str, **fields: object) -> Order:
    # Birthdays apart: equal ones are marked.
    born = f"19{40 + sum(map(ord, family)) % 50}-03-{1 + len(family):02d}"
    patient = makers.make_patient(family, birth_date=born, sex="M", mobile="02079460000")
    return makers.make_order(patient, **fields)


def a_day(start: datetime) -> dict[str, Appointment]:
    """One of each: waiting too long, called, inside, late, expected, done; a blocked room and three requests."""
    clara, theo = person("clara"), person("theo")
    of = {"CT1": "CT", "CT2": "CT", "MR1": "MR", "US1": "US", "XR1": "DX"}
    rooms = [makers.make_room(code, of[code], position=at) for at, code in enumerate(of)]
    kinds = {
        "CT": makers.make_procedure_type("CTABD", name="CT abdomen + contrast", contrast=True, prep="Nothing to eat."),
        "MR": makers.make_procedure_type("MRSPC", name="MR spine cervical", modality="MR", duration_minutes=45),
        "US": makers.make_procedure_type("USREN", name="US renal", modality="US", duration_minutes=20),
        "DX": makers.make_procedure_type("XRWR", name="XR wrist", modality="DX", duration_minutes=15,
                                         laterality="required"),
    }  # fmt: skip

    def put(family: str, room: Room, minutes: int, **fields: object) -> Appointment:
        side = "L" if room.modality == "DX" else ""
        asked = order(family, procedure_type=kinds[room.modality], side=side, **fields)
        at = start + timedelta(minutes=minutes)
        return scheduling.book(asked, room=room, start=at, by=person("mona"))

    made = {
        "waiting": scheduling.check_in(
            put("Diallo", rooms[2], -20), by=clara, at=start - timedelta(minutes=31)
        ),
        "called": scheduling.check_in(
            put("Petrova", rooms[1], 10), by=clara, at=start - timedelta(minutes=16)
        ),
        "inside": put("Rossi", rooms[0], -15, priority="stat"),
        "late": put("Brenner", rooms[4], -25),
        "expected": put("Okafor", rooms[0], 20),
        "done": put("Fournier", rooms[3], -50),
    }
    scheduling.make_ready(made["called"], by=clara)
    exams.start_exam(made["inside"].order, by=theo, at=start - timedelta(minutes=12))
    (exam,) = exams.start_exam(made["done"].order, by=theo, at=start - timedelta(minutes=50))
    exams.complete_exam(exam, by=theo, at=start - timedelta(minutes=30))
    scheduling.block_room(
        rooms[3],
        start=start - timedelta(minutes=5),
        end=start + timedelta(minutes=55),
        reason="Service",
        by=clara,
    )
    for family, priority in [("Hussein", "routine"), ("Todd", "stat"), ("Walsh", "asap")]:
        order(family, procedure_type=kinds["CT"], priority=priority)
    return made


def midday() -> datetime:
    """The present, kept off midnight by half a day so that the day's bookings share its date."""
    local = formats.local(timezone.now()).replace(second=0, microsecond=0)
    return local if 2 <= local.hour <= 21 else local.replace(hour=12)


def test_the_desk_checks_in_calls_and_takes_back_by_keys(open_as: OpenAs) -> None:
    start = timezone.now().replace(second=0, microsecond=0)
    appointment = makers.make_appointment(makers.make_order(makers.make_patient()), start=start)
    page = open_as(person("clara"), "/board")
    row = page.locator(f"#appt-{appointment.pk}")
    press(page, "j", "Enter")
    expect(page.locator("#toasts")).to_contain_text("OKAFOR, Adaeze has arrived")
    expect(row).to_contain_text("Arrived")
    press(page, "c")
    expect(row).to_contain_text("Ready")
    press(page, "u")
    expect(row).to_contain_text("Arrived")
    appointment.refresh_from_db()
    assert appointment.status == "arrived"


def test_what_one_desk_does_the_other_sees_within_three_seconds(open_as: OpenAs) -> None:
    appointment = makers.make_appointment(start=timezone.now().replace(second=0, microsecond=0))
    page = open_as(person("clara"), "/board")
    expect(page.locator("#arrivals")).to_contain_text("Check in")
    scheduling.check_in(appointment, by=person("mona"))
    expect(page.locator(f"#appt-{appointment.pk}")).to_contain_text("Arrived", timeout=6000)


def test_a_waiting_request_is_booked_with_four_keys(open_as: OpenAs) -> None:
    makers.make_room()
    makers.make_room("CT2")
    waiting = order("Todd", priority="stat")
    page = open_as(person("clara"), f"/schedule/{formats.today() + timedelta(days=1)}")
    press(page, "j", "Enter")
    page.wait_for_url("**order=*")
    expect(page.locator("#slot-1")).to_have_attribute("aria-current", "true")
    press(page, "2")
    expect(page.locator("#slot-2")).to_have_attribute("aria-current", "true")
    expect(page.locator("#held")).to_be_in_viewport()
    press(page, "Enter")
    expect(page.locator("#toasts")).to_contain_text("TODD, Adaeze is booked for")
    booked = Appointment.objects.get(order=waiting)
    assert booked.room.code == "CT2"
    expect(page.locator(f"#appt-{booked.pk}")).to_be_in_viewport()
    press(page, "u")
    expect(page.locator("#requests")).to_contain_text("TODD")


def test_a_free_gap_is_pointed_at_and_booked(open_as: OpenAs) -> None:
    makers.make_room()
    waiting = order("Todd")
    day = formats.today() + timedelta(days=1)
    page = open_as(person("clara"), f"/schedule/{day}?order={waiting.pk}")
    page.locator("a.slot-gap").get_by_text("02:15", exact=True).click()
    page.get_by_role("button", name="02:15 CT 1").click()
    expect(page.locator("#toasts")).to_contain_text("booked for")
    assert formats.clock(Appointment.objects.get().starts_at) == "02:15"


def test_a_booking_is_moved_and_cancelled_by_keys(open_as: OpenAs) -> None:
    start = formats.local(timezone.now() + timedelta(days=1)).replace(
        hour=10, minute=0, second=0, microsecond=0
    )
    appointment = makers.make_appointment(start=start)
    page = open_as(person("clara"), f"/schedule/{start.date()}")
    press(page, "j", "Enter")
    expect(page.locator("#sheet")).to_contain_text("OKAFOR")
    press(page, "m")
    page.wait_for_url("**move=*")
    press(page, "3", "Enter")
    expect(page.locator("#toasts")).to_contain_text("is moved to")
    appointment.refresh_from_db()
    assert appointment.starts_at != start
    page.locator(f"#appt-{appointment.pk}").focus()
    press(page, "Enter")
    expect(page.locator("#sheet")).to_contain_text("OKAFOR")
    press(page, "x")
    expect(page.locator("#sheet fieldset")).to_be_visible()
    press(page, "2", "Enter")
    expect(page.locator("#toasts")).to_contain_text("is cancelled")
    expect(page.locator("#sheet > *")).to_have_count(0)
    appointment.refresh_from_db()
    assert (appointment.status, appointment.cancel_reason) == ("cancelled", "Patient is ill")


def test_a_time_taken_meanwhile_is_told_and_nothing_is_lost(open_as: OpenAs) -> None:
    room = makers.make_room()
    waiting = order("Todd")
    day = formats.today() + timedelta(days=1)
    page = open_as(person("clara"), f"/schedule/{day}?order={waiting.pk}&room={room.pk}&at=10:30")
    page.fill("#note", "Bring films")
    start = datetime.combine(day, datetime.min.time(), formats.local(timezone.now()).tzinfo).replace(
        hour=10, minute=30
    )
    scheduling.book(order("Khan"), room=room, start=start, by=person("mona"))
    page.get_by_role("button", name="10:30 CT 1").click()
    expect(page.locator("#notices")).to_contain_text("Somebody booked 10:30 in CT 1")
    expect(page.locator("#notices")).to_contain_text("Next that fits")
    expect(page.locator("#note")).to_have_value("Bring films")


def test_the_pages_are_open_to_everybody_and_leave_their_picture(open_as: OpenAs) -> None:
    made = a_day(midday())
    day = formats.local(made["expected"].starts_at).date()
    request = Order.objects.filter(status="requested").order_by("-pk")[0]
    faults = {}
    for name, path in {
        "board": "/board",
        "board-whole-day": "/board?all=1",
        "schedule": f"/schedule/{day}",
        "schedule-find-slot": f"/schedule/{day}?order={request.pk}",
        "schedule-list": f"/schedule/{day}?view=list",
        "appointment": f"/appointments/{made['expected'].pk}",
        "cancel": f"/appointments/{made['expected'].pk}/cancel",
        "block": "/schedule/block",
        "label": f"/appointments/{made['waiting'].pk}/label",
    }.items():
        page = open_as(person("mona"), path, theme="light")
        page.wait_for_load_state("networkidle")
        faults[name] = faults_in_both_themes(page, name)
        page.close()
    assert faults == {name: [] for name in faults}


def test_without_script_the_desk_still_works(open_as: OpenAs) -> None:
    appointment = makers.make_appointment(start=timezone.now().replace(second=0, microsecond=0))
    page = open_as(person("clara"), "/board")
    page.context.route("**/*.js", lambda route: route.abort())
    page.reload()
    page.get_by_role("button", name="Check in").click()
    expect(page.locator("#toasts")).to_contain_text("has arrived")
    appointment.refresh_from_db()
    assert appointment.status == "arrived"


def test_a_label_prints_on_one_sticker(open_as: OpenAs) -> None:
    appointment = makers.make_appointment()
    page = open_as(person("clara"), f"/appointments/{appointment.pk}/label")
    printed = page.pdf(prefer_css_page_size=True)
    assert printed.count(b"/Type /Page\n") == 1
