"""The bare seed is what contract.md promises to programs outside."""

from collections.abc import Iterator
from datetime import time

import pytest
from django.apps import apps
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.models import Fee
from ris.accounts.models import Role, User
from ris.department.models import Facility, ProcedureType, Room, Station
from ris.events.models import Event
from ris.patients.models import Patient
from scheduling.models import Opening

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RIS_SEED_PASSWORD", "a password for tests")
    return


def test_the_bare_department_has_one_facility_six_rooms_and_a_station_of_each_rooms_name() -> None:
    call_command("seed", "bare")
    facility = Facility.objects.get()
    assert (facility.name, facility.timezone) == ("Harbour Imaging", "America/New_York")
    rooms = list(Room.objects.values_list("code", flat=True))
    assert rooms == ["CT1", "CT2", "MR1", "US1", "XR1", "MG1"]
    assert sorted(Station.objects.values_list("room__code", "ae_title")) == sorted((r, r) for r in rooms)
    assert not Patient.objects.exists()


def test_every_room_is_open_on_weekdays_from_7_to_19_and_on_saturday_from_8_to_12() -> None:
    call_command("seed", "bare")
    for room in Room.objects.all():
        hours = list(Opening.objects.filter(room=room).values_list("weekday", "opens", "closes"))
        assert hours == [*((day, time(7), time(19)) for day in range(5)), (5, time(8), time(12))]


def test_the_catalogue_has_60_exams_over_seven_modalities_each_with_its_fees() -> None:
    call_command("seed", "bare")
    exams = list(ProcedureType.objects.all())
    assert len(exams) >= 60
    assert {exam.modality for exam in exams} == {"CT", "MR", "US", "DX", "MG", "NM", "RF"}
    assert all(exam.body_part and exam.synonyms and exam.search for exam in exams)
    assert {exam.laterality for exam in exams} == {"none", "optional", "required"}
    assert any(exam.prep for exam in exams)
    assert any(exam.contrast for exam in exams)
    fees = set(Fee.objects.values_list("code", flat=True))
    assert all({exam.technical_code, exam.professional_code} <= fees for exam in exams)


def test_there_is_one_user_for_each_role_and_readers_and_referrers_are_practitioners() -> None:
    call_command("seed", "bare")
    people = {user.username: user for user in User.objects.exclude(username__startswith="system.")}
    assert {name: user.roles for name, user in people.items()} == {
        "frontdesk": [Role.FRONTDESK], "tech": [Role.TECHNOLOGIST], "radiologist": [Role.RADIOLOGIST],
        "resident": [Role.RESIDENT], "biller": [Role.BILLER], "manager": [Role.MANAGER],
        "admin": [Role.ADMINISTRATOR], "referrer": [Role.REFERRER],
    }  # fmt: skip
    assert all(user.check_password("a password for tests") for user in people.values())
    linked = {name for name, user in people.items() if hasattr(user, "practitioner")}
    assert linked == {"radiologist", "resident", "referrer"}


def test_a_door_for_messages_stands_open_to_any_sender() -> None:
    call_command("seed", "bare")
    endpoint = apps.get_model("interfaces", "Endpoint").objects.get()
    assert (endpoint.protocol, endpoint.direction, endpoint.active) == ("mllp", "in", True)
    assert (endpoint.match_application, endpoint.match_facility) == ("", "")


def test_a_second_run_changes_nothing() -> None:
    call_command("seed", "bare")
    ProcedureType.objects.filter(code="CT-HEAD").update(name="CT head, ours")
    facts = Event.objects.count()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        call_command("seed", "bare")
    assert len(queries) <= 3
    assert Event.objects.count() == facts
    assert ProcedureType.objects.get(code="CT-HEAD").name == "CT head, ours"


def test_production_has_no_seeded_users(settings: LazySettings) -> None:
    settings.RIS_ENV = "production"
    with pytest.raises(CommandError, match="with RIS_ENV=production there are none"):
        call_command("seed", "bare")
    assert not User.objects.exists()


def test_without_a_password_nobody_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RIS_SEED_PASSWORD")
    with pytest.raises(CommandError, match="RIS_SEED_PASSWORD"):
        call_command("seed", "bare")
    assert not Facility.objects.exists()
