"""Who opened this patient? What did this user do? Asking and taking the answer along are in the trail too."""

import csv
import io
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from ris.audit.models import AuditEvent
from ris.audit.trail import record_access
from ris.patients.access import patient_for
from ris.patients.models import Patient
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def mona(client: Client) -> Client:
    client.force_login(person("mona"))
    return client


@pytest.fixture
def okafor() -> Patient:
    patient = makers.make_patient("Okafor", mrn="004417268")
    patient_for(person("rita"), patient.pk, reason="on call")
    return patient


def test_who_opened_a_patient_is_asked_by_number_which_stays_out_of_the_address(
    mona: Client, okafor: Patient
) -> None:
    answer = mona.post("/audit", {"question": "patient", "mrn": "004 417 268"})
    assert answer.status_code == 303
    assert "417" not in answer["Location"]
    page = mona.get(answer["Location"]).content.decode()
    assert "opened patient" in page
    assert "rita" in page
    assert "on call" in page


def test_looks_at_a_merged_record_count_for_the_patient(mona: Client, okafor: Patient) -> None:
    old = makers.make_patient("Okafor", mrn="004417299")
    patient_for(person("theo"), old.pk)
    Patient.objects.filter(pk=old.pk).update(merged_into=okafor)
    assert "theo" in mona.get(f"/audit?question=patient&patient={okafor.pk}").content.decode()


def test_what_a_user_did_leaves_others_out(mona: Client, okafor: Patient) -> None:
    patient_for(person("theo"), okafor.pk)
    page = mona.get(f"/audit?question=user&user={person('theo').pk}").content.decode()
    assert "Technologist" in page
    assert "on call" not in page


def test_a_number_that_nobody_has_is_said_at_the_field(mona: Client) -> None:
    answer = mona.post("/audit", {"question": "patient", "mrn": "999"})
    assert answer.status_code == 422
    assert "No patient has the number 999." in answer.content.decode()


def test_asking_is_in_the_trail_with_the_patient_it_was_about(mona: Client, okafor: Patient) -> None:
    mona.get(f"/audit?question=patient&patient={okafor.pk}")
    asked = AuditEvent.objects.get(action="audit.search")
    assert (asked.username, asked.patient) == ("mona", okafor.pk)


def test_an_export_is_in_the_trail_and_runs_nothing_in_a_spreadsheet(mona: Client, okafor: Patient) -> None:
    record_access(person("rita"), "patient.view", patient=okafor.pk, reason="=1+1")
    answer = mona.get(f"/audit/export?question=patient&patient={okafor.pk}")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert {row["reason"] for row in rows} >= {"'=1+1", "on call"}
    assert rows[0]["MRN"] == "004417268"
    assert AuditEvent.objects.get(action="audit.export").details["count"] == len(rows)
    assert "audit.export" not in {row["what"] for row in rows}
    assert (
        "audit export" in mona.get("/audit?question=exports").content.decode()
        or "exported the trail" in mona.get("/audit?question=exports").content.decode()
    )


def test_dates_bound_the_answer(mona: Client, okafor: Patient) -> None:
    tomorrow = (timezone.now() + timedelta(days=2)).date().isoformat()
    page = mona.get(f"/audit?question=patient&patient={okafor.pk}&from={tomorrow}").content.decode()
    assert "Nothing in the trail answers this" in page
    assert mona.get("/audit?question=all&from=nonsense&user=x&patient=%00").status_code == 200


def test_readers_may_not_search_the_trail(client: Client) -> None:
    client.force_login(person("rita"))
    assert client.get("/audit").status_code == 403
    assert client.get("/audit/export?question=all").status_code == 403


def test_the_answer_asks_no_more_for_many_rows(
    mona: Client, okafor: Patient, django_assert_max_num_queries: object
) -> None:
    for place in range(30):
        patient_for(person("rita"), makers.make_patient(f"Family{place}").pk)
    with django_assert_max_num_queries(18):  # type: ignore[operator]
        mona.get(f"/audit?question=user&user={person('rita').pk}")
