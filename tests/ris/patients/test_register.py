"""Registering patients and changing their details at the desk."""

import re
from uuid import uuid4

import pytest
from django.test import Client

from ris.audit.models import AuditEvent
from ris.patients.actions import update_patient
from ris.patients.models import Patient
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db

OKAFOR = {
    "family": "Okafor",
    "given": "Adaeze",
    "birth_date": "14-Jul-1968",
    "sex": "F",
    "mobile": "07700 907719",
}
MARKER = "<script>alert(1)</script>"


@pytest.fixture
def clara(client: Client) -> Client:
    makers.make_facility()
    client.force_login(person("clara"))
    return client


def test_a_patient_gets_the_next_number_here(clara: Client) -> None:
    answer = clara.post("/patients/new", OKAFOR)
    patient = Patient.objects.get()
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/p/{patient.pk}")
    assert (patient.birth_date, patient.sex, patient.mobile) == ("1968-07-14", "F", "07700 907719")
    assert re.fullmatch(r"9\d{8}", patient.mrn)
    assert "OKAFOR, Adaeze is registered" in clara.get(f"/p/{patient.pk}").content.decode()


def test_a_walk_in_goes_on_to_the_order(clara: Client) -> None:
    answer = clara.post("/patients/new?walkin=1", OKAFOR)
    assert answer.headers["Location"] == f"/orders/new?patient={Patient.objects.get().pk}"


def test_a_form_sent_twice_registers_one_patient(clara: Client) -> None:
    form = {**OKAFOR, "form_key": str(uuid4())}
    first, second = (clara.post("/patients/new", form) for _ in range(2))
    assert first.headers["Location"] == second.headers["Location"]
    assert Patient.objects.count() == 1


def test_a_patient_like_it_is_shown_before_another_is_made(clara: Client) -> None:
    known = makers.make_patient("Okafor", "Adaeze", mobile="07700907719")
    answer = clara.post("/patients/new", OKAFOR)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "A patient like this is registered." in page
    assert f'href="/p/{known.pk}"' in page
    assert Patient.objects.count() == 1
    assert AuditEvent.objects.get(action="patient.search").details == {"count": 1, "patients": [known.pk]}
    clara.post("/patients/new", {**OKAFOR, "new_anyway": "1"})
    assert Patient.objects.count() == 2


def test_who_may_be_the_same_shows_while_one_types(clara: Client) -> None:
    known = makers.make_patient("Okafor", "Adaeze")
    page = clara.post(
        "/patients/similar?walkin=1", {"family": "okafro", "given": "adaeze", "birth_date": "1968"}
    )
    assert f'href="/orders/new?patient={known.pk}"' in page.content.decode()
    empty = clara.post("/patients/similar", {"family": "o", "given": "", "birth_date": ""})
    assert "No registered patient" in empty.content.decode()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("family", "", "Enter the family name."),
        ("birth_date", "20-Nov-2126", "Date of birth must be in the past"),
        ("birth_date", "31-Apr-1968", "Date of birth must be in the past"),
        ("birth_date", "4/5/1968", "04-May-1968 or 05-Apr-1968? Write the month as a word."),
        ("email", "nowhere", "Write the email as name@place."),
        ("number", "E7712", "Say who gave out the number."),
    ],
)
def test_what_is_wrong_is_said_at_its_field(clara: Client, field: str, value: str, said: str) -> None:
    answer = clara.post("/patients/new", {**OKAFOR, field: value})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert page.count(said) == 2  # in the summary and at the field
    assert "<title>Error: " in page
    assert "07700 907719" in page
    assert not Patient.objects.exists()


def test_a_number_that_names_somebody_is_refused_at_its_field(clara: Client) -> None:
    makers.make_patient("Duarte", "Silvia", mrn="002381947")
    answer = clara.post("/patients/new", {**OKAFOR, "number": "002381947", "authority": makers.AUTHORITY})
    assert answer.status_code == 422
    assert "already names another patient" in answer.content.decode()


def test_what_was_searched_for_fills_the_form(clara: Client) -> None:
    page = clara.post("/patients/new", {"prefill": "okafr adaéze 14 7 1968"}).content.decode()
    for value in ("Okafr", "Adaéze", "14-Jul-1968"):
        assert f'value="{value}"' in page
    assert not Patient.objects.exists()


def test_names_are_text_never_markup(clara: Client) -> None:
    clara.post("/patients/new", {**OKAFOR, "family": MARKER, "allergies": MARKER, "new_anyway": "1"})
    patient = Patient.objects.get()
    pages = [
        clara.get(f"/p/{patient.pk}"),
        clara.get(f"/p/{patient.pk}/edit"),
        clara.get("/orders/new", {"patient": patient.pk}),
        clara.post("/search", {"q": "script alert"}),
        clara.post("/search/palette", {"q": MARKER}),
    ]
    for page in pages:
        assert page.status_code == 200
        assert MARKER.lower() not in page.content.decode().lower()
        assert "&lt;script&gt;" in page.content.decode().lower()


def test_details_are_changed(clara: Client) -> None:
    patient = makers.make_patient(**{"family": "Okafor", "given": "Ada", "birth_date": "1968-07"})
    page = clara.get(f"/p/{patient.pk}/edit").content.decode()
    assert 'value="Jul-1968"' in page
    answer = clara.post(f"/p/{patient.pk}/edit", {**OKAFOR, "version": patient.version})
    assert answer.headers["Location"] == f"/p/{patient.pk}"
    patient.refresh_from_db()
    assert (patient.given, patient.birth_date) == ("Adaeze", "1968-07-14")


def test_two_who_change_the_same_patient_are_told_of_each_other(clara: Client) -> None:
    patient = makers.make_patient("Okafor", "Adaeze", mobile="07700907719")
    form = {**OKAFOR, "mobile": "07700900000", "version": patient.version}
    update_patient(patient, {"mobile": "07700907720"}, by=person("theo"))
    answer = clara.post(f"/p/{patient.pk}/edit", form)
    page = " ".join(answer.content.decode().split())
    assert answer.status_code == 409
    assert "Theo Technologist changed this patient at" in page
    assert "Mobile is now <b>07700907720</b>. Yours: <b>07700900000</b>." in page
    patient.refresh_from_db()
    assert patient.mobile == "07700907720"
    kept = clara.post(f"/p/{patient.pk}/edit", {**form, "version": patient.version})
    assert kept.status_code == 303
    patient.refresh_from_db()
    assert patient.mobile == "07700900000"


@pytest.mark.parametrize(
    ("who", "path", "status"),
    [("clara", "/patients/new", 200), ("theo", "/patients/new", 200), ("rita", "/patients/new", 403),
     ("ben", "/patients/new", 403), ("rafe", "/patients/new", 403), ("ada", "/patients/new", 403),
     ("rita", "/p/{}/edit", 403), ("mona", "/p/{}/edit", 200), ("rafe", "/p/{}/edit", 403)],
)  # fmt: skip
def test_only_those_with_the_right_write_down_patients(
    client: Client, who: str, path: str, status: int
) -> None:
    patient = makers.make_patient()
    client.force_login(person(who))
    assert client.get(path.format(patient.pk)).status_code == status
