"""The search page, the palette, home, and who may see what there."""

import pytest
from django.test import Client
from pytest_django.fixtures import DjangoAssertNumQueries

from ris.audit.models import AuditEvent
from ris.patients.models import Patient
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def okafor() -> Patient:
    return makers.make_patient("Okafor", "Adaeze", mrn="004417268", prefix="Mrs")


def _ask(client: Client, who: str, typed: str, url: str = "/search/palette") -> str:
    client.force_login(person(who))
    answer = client.post(url, {"q": typed})
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_a_found_patient_shows_who_it_is_and_what_is_next(client: Client, okafor: Patient) -> None:
    appointment = makers.make_appointment(makers.make_order(okafor))
    for url in ("/search", "/search/palette"):
        page = _ask(client, "clara", "okaf 68", url)
        for words in (f'href="/p/{okafor.pk}"', "OKAFOR, Adaeze", "(Mrs)", "14-Jul-1968", "Female", "004 417 268",
                      appointment.room.name):  # fmt: skip
            assert words in page, words


def test_what_was_searched_for_never_stands_in_an_address(client: Client, okafor: Patient) -> None:
    client.force_login(person("clara"))
    assert "OKAFOR" not in client.get("/search?q=okafor").content.decode()
    assert client.get("/search/palette?q=okafor").status_code == 405
    page = _ask(client, "clara", "okafr 1986")
    assert "Check the year" in page
    assert "okafr" not in "".join(part.split('"')[0] for part in page.split('href="')[1:])


def test_an_exam_is_found_by_its_number_however_it_is_grouped(client: Client) -> None:
    order = makers.make_order(placer_order_number="EP-7712")
    number = order.accession_number
    for typed in (number, number.lower(), f"{number[:3]}-{number[3:6]} {number[6:]}", "EP-7712"):
        page = _ask(client, "clara", typed)
        assert f'href="/orders/{order.pk}"' in page, typed
    assert f'href="/orders/{order.pk}"' in _ask(client, "clara", number, "/search")


def test_each_search_that_shows_somebody_is_noted(client: Client, okafor: Patient) -> None:
    _ask(client, "clara", "okaf")
    _ask(client, "clara", "nobody such")
    (row,) = AuditEvent.objects.filter(action="patient.search")
    assert row.details == {"count": 1, "patients": [okafor.pk], "orders": []}
    assert row.username == "clara"


def test_who_is_not_found_can_be_registered(client: Client) -> None:
    page = _ask(client, "clara", "okafr")
    assert "No patient matches “okafr”." in page
    assert "New patient OKAFR" in page
    assert "New patient" not in _ask(client, "rita", "okafr")


def test_the_palette_offers_only_pages_the_user_may_open(client: Client) -> None:
    clara = _ask(client, "clara", "")
    assert 'href="/board"' in clara
    assert 'href="/patients/new?walkin=1"' in clara
    assert 'href="/interfaces"' not in clara
    assert 'href="/interfaces"' in _ask(client, "ada", "")
    assert 'href="/board"' in _ask(client, "clara", ">arriv")
    assert "OKAFOR" not in _ask(client, "clara", ">okafor")


def test_who_may_not_see_patients_finds_none(client: Client, okafor: Patient) -> None:
    own = makers.make_order(okafor, ordering=makers.make_practitioner("Rafael", user=person("rafe")))
    other = makers.make_order(okafor)
    page = _ask(client, "rafe", "okafor")
    assert "OKAFOR" not in page
    assert f"/orders/{own.pk}" in _ask(client, "rafe", own.accession_number)
    assert f"/orders/{other.pk}" not in _ask(client, "rafe", other.accession_number)
    # Who guards the trail is led to the trail.
    assert f'href="/p/{okafor.pk}/access-log"' in _ask(client, "ada", "okafor")


def test_a_merged_record_is_named_on_the_row_it_led_to(client: Client, okafor: Patient) -> None:
    old = makers.make_patient("Okafor-Green", "Ada")
    Patient.objects.filter(pk=old.pk).update(merged_into=okafor)
    page = _ask(client, "clara", "okafor green")
    assert f'href="/p/{okafor.pk}"' in page
    assert "merged from OKAFOR-GREEN, Ada" in page


def test_a_search_takes_few_queries(
    client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(15):
        makers.make_patient("Okafor", f"Given{chr(65 + number)}")
    client.force_login(person("clara"))
    with django_assert_max_num_queries(16):
        client.post("/search", {"q": "okaf 68"})


@pytest.mark.parametrize(
    ("who", "home"),
    [("clara", "/board"), ("theo", "/rooms"), ("rita", "/reading"), ("rene", "/reading"), ("ben", "/billing/charges"),
     ("ada", "/interfaces"), ("mona", "/board"), ("rafe", "/orders")],
)  # fmt: skip
def test_home_is_the_list_of_the_role(client: Client, who: str, home: str) -> None:
    client.force_login(person(who))
    assert client.get("/").headers["Location"] == home
