"""The board and the schedule as pages: who may, what they answer, what they refuse."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from ris.audit.models import AuditEvent
from ris.core import formats
from ris.department.models import Room
from scheduling import actions as scheduling
from scheduling.models import Appointment, Block
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


def signed_in(name: str = "clara") -> Client:
    client = Client()
    client.force_login(person(name))
    return client


def this_minute() -> datetime:
    return timezone.now().replace(second=0, microsecond=0)


def soon(days: int = 1) -> datetime:
    """Ten o'clock of a day to come: inside the opening hours wherever the tests run."""
    local = formats.local(timezone.now() + timedelta(days=days))
    return local.replace(hour=10, minute=0, second=0, microsecond=0)


def in_words(response: Any) -> str:
    """What the page says after an act."""
    return " ".join(str(message) for message in response.wsgi_request._messages)


def slot(room: Room, start: datetime, **more: object) -> dict[str, object]:
    return {"room": room.pk, "start": start.isoformat(), "form_key": uuid4(), **more}


# ---- looking ----


@pytest.mark.parametrize(
    "path", ["/board", "/board/rooms", "/schedule/2026-11-19", "/schedule/2026-11-19?view=list"]
)
def test_an_empty_department_says_so_in_words(path: str) -> None:
    response = signed_in().get(path)
    assert response.status_code == 200
    assert 'class="empty"' in response.content.decode()


def test_the_board_shows_who_is_due_and_notes_the_look_once() -> None:
    makers.make_appointment(start=this_minute())
    client = signed_in()
    page = client.get("/board").content.decode()
    assert "OKAFOR, Adaeze" in page
    assert "Born 14-Jul-1968" in page
    version = page.split('data-live-version="')[1].split('"')[0]
    assert client.get("/board", {"since": version}, headers={"X-Live": "1"}).status_code in {200, 204}
    assert AuditEvent.objects.filter(action="board.list", details__count=1).count() == 1


def test_a_list_that_has_not_changed_answers_with_nothing_and_one_that_has_with_itself() -> None:
    day = soon().date()
    client = signed_in()
    url = f"/schedule/{day}"
    version = client.get(url).context["version"]
    assert client.get(url, {"since": version}, headers={"X-Live": "1"}).status_code == 204
    makers.make_appointment(start=soon())
    fresh = client.get(url, {"since": version}, headers={"X-Live": "1"})
    assert fresh.status_code == 200
    assert "<html" not in fresh.content.decode()
    assert "OKAFOR" in fresh.content.decode()


@pytest.mark.parametrize("change", ["check_in", "block", "move"])
def test_every_change_of_the_day_changes_its_version(change: str) -> None:
    appointment = makers.make_appointment(start=soon())
    client = signed_in("mona")
    url = f"/schedule/{soon().date()}"
    before = client.get(url).context["version"]
    if change == "check_in":
        scheduling.check_in(appointment, by=person("clara"))
    elif change == "block":
        scheduling.block_room(
            appointment.room, start=soon(), end=soon() + timedelta(hours=1), reason="Break", by=person("mona")
        )
    else:
        scheduling.reschedule(
            appointment, room=appointment.room, start=soon() + timedelta(hours=1), by=person("mona")
        )
    assert client.get(url).context["version"] != before


def test_the_schedule_leads_to_today_and_reads_days_as_people_write_them() -> None:
    client = signed_in()
    assert client.get("/schedule").headers["Location"] == f"/schedule/{formats.today()}"
    there = client.get("/schedule?date=%2B2w&order=7").headers["Location"]
    assert urlsplit(there).path == f"/schedule/{formats.today() + timedelta(days=14)}"
    assert parse_qs(urlsplit(there).query) == {"order": ["7"]}


@pytest.mark.parametrize(
    "path",
    ["/schedule/2026-02-31", "/schedule/0001-01-01", "/appointments/999", "/schedule/2026-11-19?order=999",
     "/schedule/2026-11-19?move=999", "/schedule/blocks/999", "/appointments/999/label", "/appointments/999/cancel"],
)  # fmt: skip
def test_what_is_not_there_is_not_found(path: str) -> None:
    assert signed_in().get(path).status_code == 404


def test_nonsense_in_the_address_of_a_time_falls_back_to_the_best_proposal() -> None:
    order = makers.make_order()
    makers.make_room()
    page = signed_in().get(f"/schedule/{soon().date()}", {"order": order.pk, "room": "x", "at": "25:99"})
    assert page.context["chosen"] == page.context["plan"].proposals[0].slot


@pytest.mark.parametrize(
    ("name", "status"), [("rita", 200), ("theo", 200), ("ben", 403), ("rafe", 403), ("ada", 403)]
)
def test_the_clinical_roles_see_the_board_and_the_schedule(name: str, status: int) -> None:
    client = signed_in(name)
    assert [client.get(path).status_code for path in ("/board", "/schedule/2026-11-19")] == [status, status]


def test_a_reader_sees_the_day_but_is_offered_no_act() -> None:
    appointment = makers.make_appointment(start=this_minute())
    page = signed_in("rita").get("/board").content.decode()
    assert "OKAFOR" in page
    assert "/check-in" not in page
    for act in ("check-in", "ready", "no-show", "confirm", "cancel", "move", "unbook", "restore"):
        assert signed_in("rita").post(f"/appointments/{appointment.pk}/{act}").status_code == 403
    appointment.refresh_from_db()
    assert appointment.status == "booked"


def test_strangers_are_asked_to_sign_in() -> None:
    assert Client().get("/board").headers["Location"].startswith("/login?next=")


def test_a_look_never_acts() -> None:
    appointment = makers.make_appointment()
    for act in ("check-in", "ready", "no-show", "confirm", "move", "unbook", "restore"):
        assert signed_in().get(f"/appointments/{appointment.pk}/{act}").status_code == 405


# ---- arriving ----


def test_check_in_without_script_comes_back_to_the_board_with_an_undo() -> None:
    appointment = makers.make_appointment(start=this_minute())
    client = signed_in()
    done = client.post(f"/appointments/{appointment.pk}/check-in")
    assert (done.status_code, done.headers["Location"]) == (303, "/board")
    page = client.get("/board").content.decode()
    assert "OKAFOR, Adaeze has arrived" in page
    assert f"/appointments/{appointment.pk}/undo-check-in" in page


def test_check_in_in_the_list_leaves_the_page_where_it_is() -> None:
    appointment = makers.make_appointment(start=this_minute())
    done = signed_in().post(f"/appointments/{appointment.pk}/check-in", headers=HTMX)
    assert done.status_code == 204
    assert "has arrived" in done.headers["HX-Trigger"]
    again = signed_in().post(f"/appointments/{appointment.pk}/check-in", headers=HTMX)
    assert again.status_code == 409
    assert "notice" in again.headers["HX-Trigger"]


def test_the_way_of_a_patient_and_back() -> None:
    appointment = makers.make_appointment(start=this_minute() - timedelta(minutes=30))
    client, statuses = signed_in(), []
    for act in ("confirm", "check-in", "ready", "undo-ready", "undo-check-in", "no-show", "restore"):
        assert client.post(f"/appointments/{appointment.pk}/{act}").status_code == 303
        appointment.refresh_from_db()
        statuses.append(appointment.status)
    assert statuses == ["confirmed", "arrived", "ready", "arrived", "booked", "no_show", "booked"]


# ---- booking ----


def test_an_order_page_leads_to_its_proposals_and_one_post_books() -> None:
    order, room = makers.make_order(), makers.make_room()
    client = signed_in()
    page = client.get(f"/schedule/{soon().date()}", {"order": order.pk})
    best = page.context["chosen"]
    assert (
        f"Book {formats.weekday(best.start)[:10]} {formats.clock(best.start)} {room.name}"
        in page.content.decode()
    )
    done = client.post("/schedule/book", slot(room, best.start, order=order.pk, note="Bring films"))
    appointment = Appointment.objects.get()
    assert done.headers["Location"] == f"/schedule/{soon().date()}#appt-{appointment.pk}"
    assert (appointment.starts_at, appointment.note) == (best.start, "Bring films")
    assert "is booked for" in client.get(done.headers["Location"]).content.decode()
    assert client.post(f"/appointments/{appointment.pk}/unbook").status_code == 303
    order.refresh_from_db()
    assert order.status == "requested"


def test_a_form_posted_twice_books_once() -> None:
    order, room, client = makers.make_order(), makers.make_room(), signed_in()
    form = slot(room, soon(), order=order.pk)
    first, second = client.post("/schedule/book", form), client.post("/schedule/book", form)
    assert first.headers["Location"] == second.headers["Location"]
    assert Appointment.objects.count() == 1


def test_a_taken_time_is_refused_with_who_took_it_and_the_next_that_fits() -> None:
    taken = makers.make_appointment(start=soon())
    order = makers.make_order(makers.make_patient("Khan"))
    refused = signed_in().post("/schedule/book", slot(taken.room, soon(), order=order.pk))
    assert refused.status_code == 409
    told = refused.content.decode()
    assert "Somebody booked 10:00 in CT 1" in told
    assert "Next that fits:" in told
    assert "10:30 CT 1" in told


def test_two_exams_of_one_patient_at_one_time_are_a_hard_stop_even_for_managers() -> None:
    patient = makers.make_patient()
    makers.make_appointment(makers.make_order(patient), start=soon())
    other = makers.make_order(patient)
    form = slot(makers.make_room("CT2"), soon(), order=other.pk, overbook_reason="Emergency")
    refused = signed_in("mona").post("/schedule/book", form)
    assert refused.status_code == 409
    assert "already has an exam at 10:00 in CT 1" in refused.content.decode()


def test_only_managers_book_over_and_they_say_why() -> None:
    taken = makers.make_appointment(start=soon())
    order = makers.make_order(makers.make_patient("Khan"))
    form = slot(taken.room, soon(), order=order.pk, overbook_reason="Emergency")
    assert signed_in("clara").post("/schedule/book", form).status_code == 403
    assert signed_in("mona").post("/schedule/book", form).status_code == 303
    assert Appointment.objects.get(order=order).overbook_reason == "Emergency"


@pytest.mark.parametrize(
    ("change", "told"),
    [({"start": "soon"}, "not a time"), ({"start": ""}, "Pick the time"), ({"room": ""}, "Pick the room"),
     ({"room": "99"}, "not in use"), ({"order": ""}, "Pick the order")],
)  # fmt: skip
def test_a_form_that_says_too_little_is_told_what_is_missing(change: dict[str, str], told: str) -> None:
    order, room = makers.make_order(), makers.make_room()
    refused = signed_in().post("/schedule/book", slot(room, soon(), order=order.pk) | change)
    assert refused.status_code == 422
    assert told in refused.content.decode()
    assert not Appointment.objects.exists()


def test_a_time_without_a_zone_is_the_facilitys() -> None:
    order, room = makers.make_order(), makers.make_room()
    form = slot(room, soon(), order=order.pk) | {"start": soon().strftime("%Y-%m-%dT%H:%M")}
    assert signed_in().post("/schedule/book", form).status_code == 303
    assert Appointment.objects.get().starts_at == soon()


# ---- moving, cancelling, blocking ----


def test_a_move_can_be_taken_back_by_its_undo() -> None:
    appointment = makers.make_appointment(start=soon())
    client, later = signed_in(), soon() + timedelta(hours=2)
    page = client.get(f"/schedule/{soon().date()}", {"move": appointment.pk})
    assert "Move to" in page.content.decode()
    form = slot(appointment.room, later, version=appointment.version)
    assert client.post(f"/appointments/{appointment.pk}/move", form).status_code == 303
    appointment.refresh_from_db()
    assert appointment.starts_at == later
    page = client.get("/board").content.decode()
    undo = page.split('action="/appointments/')[1].split('"')[0].replace("&amp;", "&")
    assert client.post(f"/appointments/{undo}").status_code == 303
    appointment.refresh_from_db()
    assert appointment.starts_at == soon()


def test_a_move_decided_on_an_old_page_is_refused() -> None:
    appointment = makers.make_appointment(start=soon())
    seen = appointment.version
    scheduling.confirm(appointment, by=person("clara"))
    form = slot(appointment.room, soon() + timedelta(hours=2), version=seen)
    refused = signed_in().post(f"/appointments/{appointment.pk}/move", form)
    assert refused.status_code == 409
    assert "Somebody changed this appointment" in refused.content.decode()


def test_a_booking_is_cancelled_with_a_reason_and_its_order_waits_again() -> None:
    appointment = makers.make_appointment(start=soon())
    client, url = signed_in(), f"/appointments/{appointment.pk}/cancel"
    assert client.get(url).status_code == 200
    refused = client.post(url, {"version": appointment.version})
    assert refused.status_code == 422
    assert "Pick a reason" in refused.content.decode()
    done = client.post(url, {"version": appointment.version, "reason": "Patient is ill"})
    assert done.status_code == 303
    appointment.refresh_from_db()
    assert (appointment.status, appointment.cancel_reason) == ("cancelled", "Patient is ill")
    assert "OKAFOR" in client.get(f"/schedule/{soon().date()}").content.decode()


def test_a_sheet_closes_when_its_act_is_done() -> None:
    appointment = makers.make_appointment(start=soon())
    url = f"/appointments/{appointment.pk}"
    sheet = signed_in().get(url, headers={**HTMX, "HX-Target": "sheet"}).content.decode()
    assert "<html" not in sheet
    assert 'role="dialog"' in sheet
    done = signed_in().post(f"{url}/confirm", headers={**HTMX, "HX-Target": "sheet"})
    assert (done.status_code, done.content) == (200, b"")


def test_a_room_is_blocked_and_who_is_booked_then_is_listed() -> None:
    appointment = makers.make_appointment(start=soon())
    client = signed_in()
    form = {"room": appointment.room.pk, "day": formats.day(soon()), "opens": "0930", "closes": "12:00",
            "reason": "Service"}  # fmt: skip
    done = client.post("/schedule/block", form)
    assert done.headers["Location"] == f"/schedule/{soon().date()}"
    block = Block.objects.get()
    page = client.get(done.headers["Location"]).content.decode()
    assert "CT 1 is blocked 09:30–12:00. 1 booked then" in page
    listed = client.get(f"/schedule/blocks/{block.pk}").content.decode()
    assert "OKAFOR" in listed
    assert f"move={appointment.pk}" in listed
    assert client.post(f"/schedule/blocks/{block.pk}/remove").status_code == 303
    assert not Block.objects.exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [({"day": "someday"}, "Type a day like"), ({"opens": "noon"}, "Write the time like"), ({"reason": ""}, "Pick a reason"),
     ({"closes": "09:00"}, "ends before it begins")],
)  # fmt: skip
def test_a_block_that_makes_no_sense_is_told_so_and_keeps_what_was_typed(
    change: dict[str, str], told: str
) -> None:
    room = makers.make_room()
    form = {"room": room.pk, "day": "+1d", "opens": "10:00", "closes": "12:00", "reason": "Service"} | change
    refused = signed_in().post("/schedule/block", form)
    assert refused.status_code == 422
    assert told in refused.content.decode()
    assert 'value="10:00"' in refused.content.decode() or "opens" in change
    assert not Block.objects.exists()


# ---- paper ----


def test_the_list_of_one_room_is_for_printing() -> None:
    appointment = makers.make_appointment(start=soon())
    makers.make_room("MR1", "MR")
    page = signed_in().get(f"/schedule/{soon().date()}", {"view": "list", "r": appointment.room.pk})
    told = page.content.decode()
    assert f'id="list-{appointment.room.pk}"' in told
    assert told.count('class="list two room-list"') == 1
    assert "printed" in told


def test_a_label_carries_who_what_when_and_a_code_of_the_number_alone() -> None:
    appointment = makers.make_appointment(start=soon())
    told = signed_in().get(f"/appointments/{appointment.pk}/label").content.decode()
    for words in (
        "OKAFOR, Adaeze",
        "14-Jul-1968",
        "CT head",
        formats.accession(appointment.order.accession_number),
    ):
        assert words in told
    assert "<svg" in told


# ---- cost ----


def fill(hours: range) -> None:
    for hour in hours:
        makers.make_appointment(
            makers.make_order(makers.make_patient(f"Family{hour}")), start=soon().replace(hour=hour)
        )
        makers.make_order(makers.make_patient(f"Waiting{hour}"))


@pytest.mark.parametrize("query", ["", "?view=list", "?order={order}"])
def test_the_schedule_costs_the_same_for_a_full_day(
    query: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    fill(range(8, 10))
    client, url = signed_in(), f"/schedule/{soon().date()}{query}".format(order=makers.make_order().pk)
    client.get(url)
    with django_assert_num_queries(33 if "order" in query else 18, exact=False) as few:
        client.get(url)
    fill(range(10, 14))
    with django_assert_num_queries(len(few)):
        client.get(url)


def test_the_board_costs_the_same_for_a_full_waiting_room(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    client = signed_in()
    rooms = [makers.make_room(f"CT{number}") for number in range(1, 7)]

    def arrive(count: int) -> None:
        for room in rooms[:count]:
            appointment = makers.make_appointment(
                makers.make_order(makers.make_patient(f"Family{room.code}")), room=room, start=this_minute()
            )
            scheduling.check_in(appointment, by=person("clara"))
        del rooms[:count]

    arrive(2)
    client.get("/board")
    with django_assert_num_queries(27, exact=False) as few:
        client.get("/board")
    arrive(4)
    with django_assert_num_queries(len(few)):
        client.get("/board")


def test_the_desk_says_who_performs_an_exam() -> None:
    """MWL-A15, SCH-20: one of those who sign in here; anybody else is no choice."""
    appointment = makers.make_appointment(start=soon())
    curie, outsider = makers.make_practitioner("Curie"), makers.make_practitioner("Elsewhere")
    curie.user = person("rita")
    curie.save()
    clara, url = signed_in(), f"/appointments/{appointment.pk}/performer"
    assert "ELSEWHERE" not in clara.get(url).content.decode()
    assert clara.post(url, {"performer": outsider.pk}).status_code == 422
    assert clara.post(url, {"performer": curie.pk, "version": appointment.version}).status_code == 303
    assert "CURIE" in clara.get(f"/appointments/{appointment.pk}").content.decode()
    assert clara.post(url, {"performer": "", "version": appointment.version}, headers=HTMX).status_code == 409
    assert clara.post(url, {"performer": "", "version": appointment.version + 1}).status_code == 303
    appointment.refresh_from_db()
    assert appointment.performer is None
