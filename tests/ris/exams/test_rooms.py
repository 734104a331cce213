"""The rooms and the list of one room."""

from typing import Any

import pytest
from django.test import Client
from pytest_django.fixtures import DjangoAssertNumQueries

from ris.audit.models import AuditEvent
from ris.exams import actions as exams
from scheduling import actions as scheduling
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def theo(client: Client) -> Client:
    client.force_login(person("theo"))
    return client


def _page(client: Client, url: str, status: int = 200, **headers: Any) -> str:
    response = client.get(url, headers=headers)
    assert response.status_code == status
    return " ".join(response.content.decode().split())


def test_a_room_shows_who_is_in_it_who_is_next_and_who_is_done(theo: Client) -> None:
    done = makers.make_exam(
        makers.make_appointment(start=makers.next_hour(-1), patient=makers.make_patient("Abel")).order,
        completed=True,
    )
    running = makers.make_exam(
        makers.make_appointment(start=makers.next_hour(0), patient=makers.make_patient("Baker")).order
    )
    late = makers.make_appointment(start=_today(), patient=makers.make_patient("Cole"))
    page = _page(theo, "/rooms/CT1")
    order = [
        page.index(f'id="exam-{running.pk}"'),
        page.index(f'id="appt-{late.pk}"'),
        page.index(f'id="exam-{done.pk}"'),
    ]
    assert order == sorted(order)
    assert f'href="/orders/{late.order_id}/start"' in page
    assert "COLE, Adaeze" in page
    assert AuditEvent.objects.get(action="room.list").details == {"count": 3}
    rooms = _page(theo, "/rooms")
    assert "BAKER, Adaeze" in rooms
    assert "COLE, Adaeze" in rooms


def _today() -> Any:
    """A time of today for which nobody is booked yet, late enough not to meet the others."""
    now = makers.next_hour(0)
    return now.replace(hour=23, minute=0) if now.hour < 22 else now.replace(hour=2, minute=0)


def test_a_stat_request_without_a_time_can_be_started_from_the_list(theo: Client) -> None:
    makers.make_room()
    order = makers.make_order(priority="stat")
    assert f'href="/orders/{order.pk}/start?room=CT1"' in _page(theo, "/rooms/CT1")
    makers.make_room("MR1", "MR")
    assert f"/orders/{order.pk}/start" not in _page(theo, "/rooms/MR1")


def test_patients_of_one_name_are_marked(theo: Client) -> None:
    first = _today()
    makers.make_appointment(start=first, patient=makers.make_patient("Okafor", "Ada"))
    assert "Same name today" not in _page(theo, "/rooms/CT1")
    makers.make_appointment(start=first.replace(minute=30), patient=makers.make_patient("OKAFOR", "Ben"))
    assert _page(theo, "/rooms/CT1").count("Same name today") == 2


def test_nobody_goes_to_the_magnet_before_the_questions_are_reviewed(theo: Client) -> None:
    """ux.md 2.10: the MR zone stands on the row; nothing asked is not cleared."""
    kind = makers.make_procedure_type("MRHEAD", name="MR head", modality="MR")
    mr = makers.make_room("MR1", "MR")
    makers.make_appointment(makers.make_order(procedure_type=kind), room=mr, start=_today())
    assert "Not past zone II" in _page(theo, "/rooms/MR1")


def test_a_scan_on_the_page_of_all_rooms_finds_the_exam(theo: Client) -> None:
    planned = makers.make_appointment(start=_today(), patient=makers.make_patient("Cole", mrn="004417268"))
    found = theo.post("/rooms/scan", {"scan": "004 417 268"})
    assert found.headers["Location"] == f"/orders/{planned.order_id}/start"
    exam = makers.make_exam(planned.order)
    assert theo.post("/rooms/scan", {"scan": "004417268"}).headers["Location"] == f"/exams/{exam.pk}"
    assert theo.post("/rooms/scan", {"scan": "999999999"}).status_code == 422


def test_an_empty_room_says_so_and_offers_tomorrow(theo: Client) -> None:
    makers.make_room()
    page = _page(theo, "/rooms/CT1")
    assert "No patients today." in page
    assert 'href="/rooms/CT1?day=%2B1d"' in page
    assert "Nobody is planned for this day." in _page(theo, "/rooms/CT1?day=%2B1d")


def test_a_list_that_has_not_changed_answers_nothing(theo: Client) -> None:
    appointment = makers.make_appointment(start=_today())
    for url in ("/rooms/CT1", "/rooms"):
        page = _page(theo, url)
        version = page.split(f'data-live="{url}" data-live-version="')[1].split('"')[0]
        live = {"X-Live": "1"}
        assert theo.get(f"{url}?since={version}", headers=live).status_code == 204
    scheduling.check_in(appointment, by=person("clara"))
    for url in ("/rooms/CT1", "/rooms"):
        changed = theo.get(f"{url}?since={version}", headers=live)
        assert changed.status_code == 200
        assert b"Arrived" in changed.content
        assert b"<html" not in changed.content


def test_an_unknown_room_is_not_there(theo: Client) -> None:
    assert theo.get("/rooms/CT9").status_code == 404


def test_the_list_costs_the_same_however_long_it_is(
    theo: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    def book(family: str, minute: int) -> None:
        makers.make_appointment(start=_today().replace(minute=minute), patient=makers.make_patient(family))

    book("Abel", 0)
    makers.make_exam(makers.make_order(patient=makers.make_patient("Dunn")))
    theo.get("/rooms/CT1")
    with django_assert_num_queries(34, exact=False) as few:
        theo.get("/rooms/CT1")
    book("Baker", 30)
    exam = makers.make_exam(makers.make_order(patient=makers.make_patient("Cole")))
    exams.complete_exam(exam, by=person("theo"))
    with django_assert_num_queries(len(few.captured_queries), exact=False):
        theo.get("/rooms/CT1")


def test_who_may_not_perform_finds_no_start(client: Client) -> None:
    appointment = makers.make_appointment(start=_today())
    client.force_login(person("rita"))
    assert f"/orders/{appointment.order_id}/start" not in _page(client, "/rooms/CT1")
    assert client.get(f"/orders/{appointment.order_id}/start").status_code == 403
    client.force_login(person("ben"))
    assert client.get("/rooms/CT1").status_code == 403
