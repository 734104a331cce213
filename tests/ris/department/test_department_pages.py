"""Rooms, stations, facilities, practitioners and exams: who sees them, who changes them, and what is refused."""

import pytest
from django.test import Client

from ris.department.models import Facility, Practitioner, ProcedureType, Room, Station
from ris.department.views import KINDS
from ris.events.models import Event
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(client: Client) -> Client:
    client.force_login(person("ada"))
    return client


@pytest.mark.parametrize("kind", KINDS)
def test_a_manager_looks_at_all_of_it_and_changes_none(kind: str, client: Client) -> None:
    makers.make_room()
    makers.make_procedure_type()
    makers.make_practitioner()
    client.force_login(person("mona"))
    assert client.get(f"/admin/{kind}").status_code == 200
    pk = KINDS[kind].model._default_manager.values_list("pk", flat=True)[0]
    page = client.get(f"/admin/{kind}/{pk}")
    assert page.status_code == 200
    assert "You may look at this but not change it" in page.content.decode()
    assert client.post(f"/admin/{kind}/{pk}", {}).status_code == 403


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_there_is_not_found(kind: str, ada: Client) -> None:
    assert ada.get(f"/admin/{kind}/987654").status_code == 404


def test_a_new_room_is_in_the_list_and_in_the_record(ada: Client) -> None:
    facility = makers.make_facility()
    fields = {
        "facility": facility.pk,
        "code": "CT9",
        "name": "CT 9",
        "modality": "CT",
        "position": 3,
        "active": "on",
    }
    assert ada.post("/admin/rooms/new", fields).status_code == 303
    room = Room.objects.get(code="CT9")
    assert "CT9" in ada.get("/admin/rooms").content.decode()
    assert Event.objects.filter(kind="department.added", subject=f"department:room:{room.pk}").exists()


def test_what_is_missing_is_said_in_the_words_of_the_field(ada: Client) -> None:
    answer = ada.post("/admin/rooms/new", {"code": "CT 9"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "Enter the name." in page
    assert "letters, digits, dashes and underscores only" in page
    assert "This field is required" not in page


@pytest.mark.parametrize("title", ["A" * 17, "CT\\1", "CT€"])
def test_an_ae_title_that_no_association_can_carry_is_refused(title: str, ada: Client) -> None:
    room = makers.make_room()
    answer = ada.post(
        "/admin/stations/new", {"ae_title": title, "room": room.pk, "modality": "CT", "active": "on"}
    )
    assert answer.status_code == 422
    assert "AE title" in answer.content.decode()
    assert Station.objects.count() == 1


def test_an_ae_title_is_judged_while_it_is_typed(ada: Client) -> None:
    station = makers.make_room().stations.get()

    def said(title: str, pk: object = "") -> str:
        return ada.post("/admin/stations/check", {"ae_title": title, "pk": pk}).content.decode()

    assert "3/16" in said("MR7")
    assert "free" in said("MR7")
    assert "CT 1 has this AE title." in said("CT1")
    assert "free" in said("CT1", station.pk)
    assert "17/16" in said("A" * 17)


def test_a_station_is_told_what_its_worklist_shows_and_how(ada: Client) -> None:
    """MWL-25, MWL-36: the form keeps each setting, and says what cannot be."""
    station = makers.make_room().stations.get()
    url = f"/admin/stations/{station.pk}"
    fields: dict[str, object] = {
        "ae_title": "CT1", "room": station.room_id, "modality": "CT", "active": "on", "own_steps_only": "on",
        "days_before": "0", "days_after": "14", "shown": ["READY", "STARTED"], "letters": "capitals",
        "character_set": "ISO 2022 IR 13\\ISO 2022 IR 87\\ISO 2022 IR 159", "longest_text": "16",
        "withheld": ["Allergies"], "timezone_offset": "never",
    }  # fmt: skip
    assert ada.post(url, fields).status_code == 303
    station.refresh_from_db()
    assert (station.own_steps_only, station.days_before, station.days_after) == (True, 0, 14)
    assert (station.shown, station.letters, station.withheld) == (
        ["READY", "STARTED"],
        "capitals",
        ["Allergies"],
    )
    assert (station.character_set, station.timezone_offset) == (fields["character_set"], "never")
    for wrong, said in (
        ({"shown": []}, "Pick at least one"), ({"longest_text": "200"}, "from 8 to 64"),
        ({"character_set": "KLINGON"}, "Pick one of the list."), ({"days_after": "-1"}, "greater than or equal to 0"),
    ):  # fmt: skip
        answer = ada.post(url, {**fields, **wrong})
        assert answer.status_code == 422, wrong
        assert said in answer.content.decode(), wrong
    # Another door's set stays until somebody picks one of the list.
    Station.objects.update(character_set="ISO_IR 13")
    assert 'value="ISO_IR 13" selected' in ada.get(url).content.decode()


def test_a_time_zone_that_is_none_is_refused(ada: Client) -> None:
    facility = makers.make_facility()
    fields = {"code": "HARBOUR", "name": "Harbour", "assigning_authority": "HARBOUR", "accession_prefix": "A"}
    answer = ada.post(f"/admin/facilities/{facility.pk}", {**fields, "timezone": "Mars/Olympus"})
    assert answer.status_code == 422
    assert "no time zone Mars/Olympus" in answer.content.decode()
    assert (
        ada.post(f"/admin/facilities/{facility.pk}", {**fields, "timezone": "Europe/Oslo"}).status_code == 303
    )
    assert Facility.objects.get().timezone == "Europe/Oslo"


def test_an_exam_is_found_by_what_people_call_it_after_it_is_saved(ada: Client) -> None:
    exam = makers.make_procedure_type()
    fields = {
        "code": "CTHEAD", "name": "CT head", "synonyms": "brain scan\nCCT", "modality": "CT", "laterality": "none",
        "duration_minutes": "20", "active": "on",
    }  # fmt: skip
    assert ada.post(f"/admin/catalogue/{exam.pk}", fields).status_code == 303
    exam.refresh_from_db()
    assert (exam.synonyms, exam.duration_minutes) == (["brain scan", "CCT"], 20)
    assert "CTHEAD" in ada.get("/admin/catalogue?q=scan+brain").content.decode()
    assert "No exam matches" in ada.get("/admin/catalogue?q=brain&modality=MR").content.decode()
    assert "Changed by Ada" in ada.get(f"/admin/catalogue/{exam.pk}").content.decode()


def test_an_exam_takes_5_to_480_minutes(ada: Client) -> None:
    exam = makers.make_procedure_type()
    fields = {
        "code": "CTHEAD",
        "name": "CT head",
        "modality": "CT",
        "laterality": "none",
        "duration_minutes": "2",
    }
    answer = ada.post(f"/admin/catalogue/{exam.pk}", fields)
    assert "5 to 480 minutes" in answer.content.decode()
    assert ProcedureType.objects.get().duration_minutes == 30


def test_a_practitioner_is_found_by_parts_of_the_name_or_the_number(ada: Client) -> None:
    makers.make_practitioner("Lindgren")
    makers.make_practitioner("Mensah", identifier="0123")
    page = ada.get("/admin/practitioners?q=lind+maj").content.decode()
    assert "LINDGREN" in page
    assert "MENSAH" not in page
    assert "MENSAH" in ada.get("/admin/practitioners?q=012").content.decode()
    assert Practitioner.objects.count() == 2


def test_the_lists_ask_no_more_for_many_rows(ada: Client, django_assert_max_num_queries: object) -> None:
    for place in range(20):
        makers.make_room(f"CT{place}")
        makers.make_practitioner(f"Family{place}")
        makers.make_procedure_type(f"X{place}")
    for kind in KINDS:
        with django_assert_max_num_queries(12):  # type: ignore[operator]
            ada.get(f"/admin/{kind}")
