"""Merging and unmerging at the desk."""

import pytest
from django.test import Client

from ris.audit.models import AuditEvent
from ris.patients.merge_actions import merge_patients
from ris.patients.models import Merge, Patient
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def clara(client: Client) -> Client:
    client.force_login(person("clara"))
    return client


@pytest.fixture
def two() -> tuple[Patient, Patient]:
    return makers.make_patient(birth_date="1968-07-14"), makers.make_patient(
        "Okafor", "Ada", birth_date="1968-07-11"
    )


def test_the_desk_finds_compares_and_merges(clara: Client, two: tuple[Patient, Patient]) -> None:
    stays, goes = two
    order = makers.make_order(goes)
    page = clara.get(f"/p/{goes.pk}/merge").content.decode()
    assert f"?with={stays.pk}" in page, "who is alike is offered without a search"
    found = clara.post(f"/p/{goes.pk}/merge", {"q": stays.mrn}).content.decode()
    assert f"?with={stays.pk}" in found
    page = clara.get(f"/p/{goes.pk}/merge?with={stays.pk}").content.decode()
    assert "Stays: OKAFOR, Adaeze" in page
    assert (
        "Stays: OKAFOR, Ada<"
        in clara.get(f"/p/{goes.pk}/merge?with={stays.pk}&keep={goes.pk}").content.decode()
    )
    assert page.count("Differs") == 2  # given name, birth date
    sent = {"other": stays.pk, "keep": stays.pk, "birth_year": "1970", "reason": "Same passport"}
    answer = clara.post(f"/p/{goes.pk}/merge", sent)
    assert (answer.status_code, Merge.objects.count()) == (422, 0)
    assert "not the birth year" in answer.content.decode()
    answer = clara.post(f"/p/{goes.pk}/merge", sent | {"birth_year": "1968"})
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/p/{stays.pk}")
    order.refresh_from_db()
    assert order.patient == stays
    # The old page leads on, and the one that stays names what went into it.
    assert clara.get(f"/p/{goes.pk}").headers["Location"] == f"/p/{stays.pk}"
    assert goes.mrn[-3:] in clara.get(f"/p/{stays.pk}").content.decode()
    looked = AuditEvent.objects.filter(action="patient.view").values_list("patient", flat=True)
    assert {stays.pk, goes.pk} <= set(looked)


def test_a_merge_is_taken_back_from_the_list(clara: Client, two: tuple[Patient, Patient]) -> None:
    stays, goes = two
    order = makers.make_order(goes)
    merge = merge_patients(stays, goes, by=person("mona"), reason="Same passport")
    assert "Same passport" in clara.get("/patients/merges").content.decode()
    page = clara.get(f"/patients/merges/{merge.pk}").content.decode()
    assert order.accession_number in page
    assert clara.post(f"/patients/merges/{merge.pk}", {"reason": ""}).status_code == 422
    answer = clara.post(f"/patients/merges/{merge.pk}", {"reason": "Two sisters"})
    assert answer.headers["Location"] == f"/p/{goes.pk}"
    order.refresh_from_db()
    assert order.patient == goes
    assert "Two sisters" in clara.get("/patients/merges").content.decode()
    assert "taken back already" in clara.get(f"/patients/merges/{merge.pk}").content.decode()


def test_who_types_into_a_record_that_is_merged_meanwhile_is_told(
    clara: Client, two: tuple[Patient, Patient]
) -> None:
    """PIR-11, SCN-19: nothing is saved, and the retired record stays retired."""
    stays, goes = two
    merge_patients(stays, goes, by=person("mona"))
    form = {"family": "Typed", "sex": "F", "version": goes.version}
    answer = clara.post(f"/p/{goes.pk}/edit", form)
    page = answer.content.decode()
    assert (answer.status_code, 'value="Typed"' in page) == (409, True)
    assert f'href="/p/{stays.pk}/edit"' in page
    goes.refresh_from_db()
    assert (goes.family, goes.merged_into) == ("Okafor", stays)
    assert clara.get(f"/p/{goes.pk}/edit").headers["Location"] == f"/p/{stays.pk}/edit"


def test_the_list_takes_the_same_queries_for_many(
    clara: Client, django_assert_max_num_queries: pytest.FixtureRequest
) -> None:
    for _ in range(4):
        merge_patients(makers.make_patient(), makers.make_patient("Doe"), by=person("mona"))
    clara.get("/patients/merges")
    with django_assert_max_num_queries(18):  # type: ignore[operator]
        clara.get("/patients/merges")
