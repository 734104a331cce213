"""Opening hours, report templates and partners on the admin pages."""

from datetime import time

import pytest
from django.apps import apps
from django.test import Client

from ris.core.errors import BadValue, NotAllowed
from ris.department.models import Room
from ris.reporting.actions import starting_text
from ris.reporting.models import ReportTemplate
from scheduling.actions import set_openings
from scheduling.models import Opening
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(client: Client) -> Client:
    client.force_login(person("ada"))
    return client


@pytest.fixture
def room() -> Room:
    return makers.make_room()


def hours(room: Room) -> list[tuple[int, time, time]]:
    return list(Opening.objects.filter(room=room).values_list("weekday", "opens", "closes"))


def test_hours_are_written_as_people_say_them(ada: Client, room: Room) -> None:
    week = {"day0": "7-12, 13:00–19:00", "day5": "08:00-12:00", "day6": "0-24"}
    assert ada.post(f"/admin/rooms/{room.pk}/hours", week).status_code == 303
    assert hours(room) == [
        (0, time(7), time(12)), (0, time(13), time(19)), (5, time(8), time(12)), (6, time(0), time(23, 59, 59)),
    ]  # fmt: skip
    page = ada.get(f"/admin/rooms/{room.pk}/hours").content.decode()
    assert "07:00–12:00, 13:00–19:00" in page
    assert "00:00–24:00" in page


@pytest.mark.parametrize(
    ("day", "words"),
    [
        ("7 to 12", "Write Tuesday&#x27;s hours as"),
        ("25-26", "Write Tuesday&#x27;s hours as"),
        ("12-7", "ends before it begins"),
        ("7-12, 11-15", "Two spans overlap at 11:00"),
    ],
)
def test_hours_that_cannot_be_change_nothing(day: str, words: str, ada: Client, room: Room) -> None:
    before = hours(room)
    answer = ada.post(f"/admin/rooms/{room.pk}/hours", {"day1": day})
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert hours(room) == before


def test_only_administrators_set_hours(room: Room) -> None:
    with pytest.raises(NotAllowed):
        set_openings(room, [], by=person("mona"))
    with pytest.raises(BadValue):
        set_openings(room, [(0, time(9), time(9))], by=person("ada"))


def test_a_template_begins_the_next_report(ada: Client) -> None:
    fields = {"name": "CT ours", "modality": "CT", "59776-5": "Ours: [describe]", "19005-8": "None."}
    assert ada.post("/admin/templates/new", fields).status_code == 303
    report = makers.make_report()
    assert "CT ours" in ada.get("/admin/templates").content.decode()
    exam = report.reported.get().exam
    assert "Ours: [describe]" in {one["text"] for one in starting_text(exam)}


def test_a_template_keeps_its_name_and_another_cannot_take_it(ada: Client) -> None:
    ada.post("/admin/templates/new", {"name": "CT ours", "modality": "CT"})
    taken = ada.post("/admin/templates/new", {"name": "CT ours", "modality": "MR"})
    assert taken.status_code == 422
    assert "Another template has this name." in taken.content.decode()
    known = ReportTemplate.objects.get(name="CT ours")
    ada.post(f"/admin/templates/{known.pk}", {"name": "Other", "modality": "MR", "19005-8": "New words"})
    known.refresh_from_db()
    assert (known.name, known.modality) == ("CT ours", "MR")
    ada.post(f"/admin/templates/{known.pk}/retire")
    known.refresh_from_db()
    assert not known.active


PARTNER = {
    "name": "CITY EMR",
    "protocol": "mllp",
    "direction": "out",
    "address": "10.0.0.7:2575",
    "facts": ["orders", "results"],
    "hl7_version": "2.5.1",
    "encoding": "UNICODE UTF-8",
    "answer_timeout": "20",
    "on_ambiguous": "resend",
    "profile_pdf": "no",
}


def test_a_partner_is_added_and_changed_on_its_page(ada: Client) -> None:
    assert ada.post("/admin/partners/new", PARTNER).status_code == 303
    partner = apps.get_model("interfaces", "Endpoint").objects.get(name="CITY EMR")
    assert (partner.address, partner.facts, partner.profile) == (
        "10.0.0.7:2575",
        ["orders", "results"],
        {"pdf": "no"},
    )
    page = ada.get(f"/admin/partners/{partner.pk}").content.decode()
    assert "10.0.0.7:2575" in page
    ada.post(f"/admin/partners/{partner.pk}", {**PARTNER, "name": "OTHER", "profile_pdf": ""})
    partner.refresh_from_db()
    assert (partner.name, partner.profile) == ("CITY EMR", {})


def test_a_partner_that_cannot_be_reached_is_refused_at_its_field(ada: Client) -> None:
    answer = ada.post("/admin/partners/new", {**PARTNER, "address": "nowhere"})
    assert answer.status_code == 422
    assert "The address is HOST:PORT" in answer.content.decode()
    ada.post("/admin/partners/new", PARTNER)
    assert "Another partner has this name." in ada.post("/admin/partners/new", PARTNER).content.decode()


def test_managers_see_partners_and_only_administrators_change_them(client: Client) -> None:
    client.force_login(person("mona"))
    assert client.get("/admin/partners").status_code == 200
    assert client.post("/admin/partners/new", PARTNER).status_code == 403
    assert client.get("/admin").status_code == 302
