"""The patient's chart and who looked at it."""

from datetime import UTC, datetime

import pytest
from django.test import Client
from pytest_django.fixtures import DjangoAssertNumQueries

from ris.audit.models import AuditEvent
from ris.orders.models import Order
from ris.patients.actions import NewIdentifier, NewVisit, open_visit, update_patient
from ris.patients.models import Patient
from scheduling import actions as scheduling
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def okafor() -> Patient:
    return makers.make_patient("Okafor", "Adaeze", mrn="004417268", prefix="Mrs", mobile="+447700907719")


def _page(client: Client, who: str, url: str, status: int = 200) -> str:
    client.force_login(person(who))
    answer = client.get(url)
    assert answer.status_code == status
    return " ".join(answer.content.decode().split())


def test_the_chart_says_who_it_is_and_what_is_known(client: Client, okafor: Patient) -> None:
    update_patient(okafor, {"allergies": "Iodinated contrast", "language": "French"}, by=person("clara"),
                   identifiers=(NewIdentifier("E7712", "EAST"),))  # fmt: skip
    open_visit(okafor, NewVisit("V100", location="4 East", patient_class="I"), by=person("clara"))
    page = _page(client, "clara", f"/p/{okafor.pk}")
    for words in ("OKAFOR, Adaeze (Mrs)", "14-Jul-1968", "Female", "004 417 268", "Known allergies: Iodinated contrast",
                  "French", "EAST", "E7712", "V100", "4 East", "No exam yet."):  # fmt: skip
        assert words in page, words
    assert AuditEvent.objects.get(action="patient.view").patient == okafor.pk


def test_the_timeline_shows_each_exam_once_as_far_as_it_has_come(client: Client, okafor: Patient) -> None:
    asked = makers.make_order(okafor)
    booked = makers.make_appointment(makers.make_order(okafor))
    read = makers.make_exam(
        makers.make_appointment(makers.make_order(okafor), start=makers.next_hour(-3)).order, completed=True
    )
    report = makers.make_report(read, signed=True)
    missed = makers.make_appointment(makers.make_order(okafor), start=makers.next_hour(-8))
    scheduling.mark_no_show(missed, by=person("clara"))
    page = _page(client, "clara", f"/p/{okafor.pk}")
    assert page.count("data-row") == 5  # the missed time has a row beside its request
    for words in ("Requested", "Scheduled", "Final", "No-show", f'href="/reports/{report.pk}"', "Rita"):
        assert words in page, words
    for order in (asked, booked.order, read.order, missed.order):
        assert f'href="/orders/{order.pk}"' in page
    rows = page.split("data-row")
    assert rows[1].count("Scheduled") == 1


def test_the_newest_stands_first_and_years_are_told(client: Client, okafor: Patient) -> None:
    for year in (2019, 2024, 2021):
        makers.make_order(okafor, ordered_at=datetime(year, 3, 12, 14, 10, tzinfo=UTC))
    page = _page(client, "clara", f"/p/{okafor.pk}")
    places = [page.index(f"<h2>{year}</h2>") for year in (2024, 2021, 2019)]
    assert places == sorted(places)
    assert "12-Mar 10:10" in page


def test_the_timeline_is_narrowed_to_a_modality(client: Client, okafor: Patient) -> None:
    makers.make_order(okafor)
    mr = makers.make_order(
        okafor, procedure_type=makers.make_procedure_type("MRHEAD", name="MR head", modality="MR")
    )
    page = _page(client, "clara", f"/p/{okafor.pk}?m=MR")
    assert page.count("data-row") == 1
    assert f'href="/orders/{mr.pk}"' in page
    assert "No exam of this modality." in _page(client, "clara", f"/p/{okafor.pk}?m=NM")


def test_what_is_offered_goes_by_the_role(client: Client, okafor: Patient) -> None:
    makers.make_order(okafor)
    clara = _page(client, "clara", f"/p/{okafor.pk}")
    assert "New order" in clara
    assert "/schedule/" in clara
    assert "access-log" not in clara
    ben = _page(client, "ben", f"/p/{okafor.pk}")
    assert "New order" not in ben
    assert "/schedule/" not in ben
    assert "access-log" in _page(client, "mona", f"/p/{okafor.pk}")


@pytest.mark.parametrize(("who", "status"), [("rafe", 403), ("ada", 403), ("rita", 200), ("ben", 200)])
def test_the_chart_opens_for_those_with_the_right(
    client: Client, okafor: Patient, who: str, status: int
) -> None:
    page = _page(client, who, f"/p/{okafor.pk}", status)
    assert ("OKAFOR" in page) == (status == 200)


def test_a_merged_record_leads_to_the_one_it_became(client: Client, okafor: Patient) -> None:
    old = makers.make_patient("Okafor-Green", "Ada")
    Patient.objects.filter(pk=old.pk).update(merged_into=okafor)
    client.force_login(person("clara"))
    assert client.get(f"/p/{old.pk}").headers["Location"] == f"/p/{okafor.pk}"
    assert client.get(f"/p/{old.pk}/edit").headers["Location"] == f"/p/{okafor.pk}/edit"


def test_many_exams_take_no_more_queries_than_one(
    client: Client, okafor: Patient, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(6):
        exam = makers.make_exam(makers.make_appointment(makers.make_order(okafor), start=makers.next_hour(-9 + number)).order,
                                completed=True)  # fmt: skip
        makers.make_report(exam, signed=number % 2 == 0)
    client.force_login(person("clara"))
    client.get(f"/p/{okafor.pk}")  # the shell's counts are kept from here on
    with django_assert_max_num_queries(22):
        client.get(f"/p/{okafor.pk}")
    assert Order.objects.count() == 6


def test_who_looked_at_the_patient_is_asked_of_the_trail(client: Client, okafor: Patient) -> None:
    _page(client, "rita", f"/p/{okafor.pk}")
    client.force_login(person("ada"))
    answer = client.get(f"/p/{okafor.pk}/access-log", follow=True)
    assert answer.status_code == 200
    assert "rita" in answer.content.decode()
    looks = AuditEvent.objects.filter(username="ada", patient=okafor.pk)
    assert looks.count() == 1
    _page(client, "clara", f"/p/{okafor.pk}/access-log", 403)
