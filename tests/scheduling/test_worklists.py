"""What the board and the grid say of a day, seen at noon."""

from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from pytest_django import DjangoAssertNumQueries

from ris.core import formats
from ris.department.models import Room
from ris.exams import actions as exams
from scheduling import actions as scheduling
from scheduling import worklists
from scheduling.grid import Box, Column, day_grid
from scheduling.models import Appointment, Opening
from scheduling.worklists import Board, Entry
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db
ZONE = ZoneInfo("America/New_York")
DAY = formats.today()


def at(hour: int, minute: int = 0) -> datetime:
    return datetime.combine(DAY, time(hour, minute), ZONE)


NOON = at(12)


def booked(start: datetime, family: str = "Okafor", room: Room | None = None, **fields: Any) -> Appointment:
    born = fields.pop("birth_date", "")
    patient = makers.make_patient(family, birth_date=born)
    return makers.make_appointment(makers.make_order(patient, **fields), room=room, start=start)


def shown(**choices: Any) -> Board:
    return worklists.board(worklists.entries_of(DAY, NOON), NOON, **choices)


def names(board: Board) -> dict[str, list[str]]:
    return {
        group.key: [entry.appointment.patient.family for entry in group.entries] for group in board.groups
    }


def only() -> Entry:
    (entry,) = worklists.entries_of(DAY, NOON)
    return entry


def figures(board: Board) -> dict[str, int]:
    return {kpi.key: kpi.number for kpi in board.kpis}


def test_the_longest_waiting_stands_first() -> None:
    for start, came, family in [(at(12), at(11, 50), "Short"), (at(12, 30), at(11, 20), "Long")]:
        scheduling.check_in(booked(start, family), by=person("clara"), at=came)
    board = shown()
    assert names(board) == {"waiting": ["Long", "Short"]}
    assert board.groups[0].note == "2 · longest 40 min"


def test_the_next_ninety_minutes_and_the_late_are_expected_the_rest_is_a_number() -> None:
    for start, family in [(at(11), "Late"), (at(13), "Soon"), (at(15), "Tonight")]:
        booked(start, family)
    board = shown()
    assert names(board) == {"expected": ["Late", "Soon"]}
    assert (board.groups[0].more, board.groups[0].note) == (1, "2 · 1 late")
    assert names(shown(whole=True)) == {"expected": ["Late", "Soon", "Tonight"]}


def test_five_minutes_after_the_time_a_patient_is_late_and_after_twenty_a_no_show_is_proposed() -> None:
    booked(at(11, 54))
    entry = only()
    assert (entry.status, entry.late_minutes, entry.seems_lost) == ("late", 6, False)
    assert Entry(entry.appointment, at(11, 58)).status == "booked"
    assert Entry(entry.appointment, at(12, 15)).seems_lost


def test_a_wait_beyond_the_target_is_told_and_a_stat_has_less_time() -> None:
    scheduling.check_in(booked(at(12), priority="stat"), by=person("clara"), at=at(11, 49))
    entry = only()
    assert (entry.wait, entry.target, entry.wait_tone, entry.edge) == (11, 10, "stop", "edge-stop")


def test_who_left_within_the_hour_is_listed_by_when_they_left() -> None:
    for start, end, family in [(at(8), at(9), "Morning"), (at(11), at(11, 30), "Just")]:
        (exam,) = exams.start_exam(booked(start, family).order, by=person("theo"), at=start)
        exams.complete_exam(exam, by=person("theo"), at=end)
    board = shown()
    assert names(board) == {"leaving": ["Just"]}
    assert (board.groups[0].more, board.groups[0].note) == (1, "2 done today")


def test_the_figures_count_and_filter_the_list() -> None:
    scheduling.check_in(booked(at(12), "Waiting"), by=person("clara"), at=at(11, 30))
    booked(at(11), "Late")
    scheduling.mark_no_show(booked(at(9), "Lost"), by=person("clara"), at=NOON)
    exams.start_exam(booked(at(11, 30), "Inside").order, by=person("theo"), at=at(11, 30))
    assert figures(shown()) == {"in": 2, "waiting": 1, "over": 1, "late": 1, "rooms": 1, "needs": 0}
    assert names(shown(only="late")) == {"expected": ["Late"], "lost": ["Lost"]}
    assert names(shown(only="rooms")) == {"rooms": ["Inside"]}
    assert names(shown(only="in")) == {"waiting": ["Waiting"], "rooms": ["Inside"]}
    assert shown(modality="MR").groups == []


def test_same_surname_and_same_birthday_are_marked_on_both_rows() -> None:
    ultrasound = makers.make_procedure_type("USABD", name="US abdomen", modality="US")
    booked(at(12), "Müller", birth_date="1970-01-01")
    booked(
        at(12), "MULLER", makers.make_room("US1", "US"), procedure_type=ultrasound, birth_date="1980-02-02"
    )
    booked(at(13), "Other", birth_date="1980-02-02")
    told = {entry.appointment.patient.family: entry.namesake for entry in worklists.entries_of(DAY, NOON)}
    assert told == {
        "Müller": "Same surname in US 1", "MULLER": "Same surname in CT 1", "Other": "Same birthday in US 1",
    }  # fmt: skip


def test_checks_are_only_what_the_record_can_tell() -> None:
    wrist = makers.make_procedure_type("XRWR", name="XR wrist", modality="DX", laterality="required")
    appointment = booked(
        at(12), room=makers.make_room("XR1", "DX"), procedure_type=wrist, side="L", reason=""
    )
    assert dict(only().checks) == {
        "Identity": "todo",
        "Side": "done",
        "Reason": "progress",
        "Referrer": "done",
    }
    assert only().needs_you
    scheduling.check_in(appointment, by=person("clara"))
    assert dict(only().checks)["Identity"] == "done"


def test_a_room_card_tells_who_is_inside_who_is_next_and_why_nobody_is() -> None:
    rooms = [makers.make_room(code, position=at) for at, code in enumerate(["CT1", "CT2", "CT3", "CT4"])]
    exams.start_exam(booked(at(11, 30), "Inside", rooms[0]).order, by=person("theo"), at=at(11, 20))
    booked(at(13), "Next", rooms[1])
    scheduling.block_room(rooms[2], start=at(11), end=at(14), reason="Service", by=person("mona"))
    Opening.objects.filter(room=rooms[3]).update(opens="13:00")
    cards = worklists.room_cards(worklists.entries_of(DAY, NOON), NOON)
    assert [(card.state, card.end, card.line) for card in cards] == [
        ("busy", "10 min over", "INSIDE, Adaeze · CT head"),
        ("free", "Free", "Next NEXT, Adaeze · 13:00"),
        ("down", "until 14:00", "Service"),
        ("closed", "opens 13:00", "Nobody more today"),
    ]


def column(**choices: Any) -> Column:
    (found,) = day_grid(DAY, NOON, modalities=["CT"], **choices).columns
    return found


def placed(kind: str, boxes: list[Box]) -> list[tuple[int, int]]:
    return [(box.top, box.length) for box in boxes if box.kind == kind]


def test_the_grid_runs_over_the_open_hours_and_draws_each_booking_to_scale() -> None:
    room = makers.make_room()
    Opening.objects.filter(room=room).update(opens="07:30", closes="16:00")
    booked(at(8))
    scheduling.block_room(room, start=at(12), end=at(13), reason="Break", by=person("mona"))
    grid = day_grid(DAY, NOON, modalities=[])
    assert (grid.start, len(grid.hours)) == (at(7), 9)
    (drawn,) = grid.columns
    assert placed("closed", drawn.boxes) == [(0, 30)]
    assert placed("booked", drawn.boxes) == [(60, 30)]
    assert placed("blocked", drawn.boxes) == [(300, 60)]
    assert drawn.share == round(100 * 30 / (8.5 * 60 - 60))


def test_an_overlap_is_drawn_and_told_not_hidden() -> None:
    booked(at(8))
    later = makers.make_order(makers.make_patient("Khan"))
    scheduling.book(
        later, room=makers.make_room(), start=at(8, 15), overbook_reason="Emergency", by=person("mona")
    )
    boxes = [box for box in column().boxes if box.kind == "booked"]
    assert [(box.shift, box.overlap) for box in boxes] == [(0, 15), (1, 15)]


def test_a_missed_time_given_to_somebody_else_shows_the_one_who_comes() -> None:
    scheduling.mark_no_show(booked(at(8), "Lost"), by=person("clara"), at=NOON)
    assert len(placed("booked", column().boxes)) == 1
    booked(at(8), "Instead")
    (box,) = [box for box in column().boxes if box.kind == "booked"]
    assert box.entry is not None
    assert box.entry.appointment.patient.family == "Instead"


def test_the_grid_offers_the_free_starts_of_the_chosen_exam() -> None:
    room = makers.make_room()
    Opening.objects.filter(room=room).update(opens="08:00", closes="10:00")
    booked(at(8, 30))
    plan = worklists.plan_for(makers.make_order(makers.make_patient()), day=DAY, since=DAY, now=at(7))
    assert placed("gap", column(plan=plan).boxes) == [(0, 15), (60, 15), (75, 15), (90, 15)]
    assert [formats.clock(one.slot.start) for one in plan.proposals[:3]] == ["08:00", "09:00", "09:30"]
    assert plan.heat[0] == (DAY, 3)


def test_a_second_exam_of_the_same_day_is_named_beside_the_time() -> None:
    patient = makers.make_patient()
    ultrasound = makers.make_procedure_type("USABD", name="US abdomen", modality="US")
    makers.make_room()
    makers.make_appointment(
        makers.make_order(patient, procedure_type=ultrasound),
        room=makers.make_room("US1", "US"),
        start=at(14),
    )
    plan = worklists.plan_for(makers.make_order(patient), day=DAY, since=DAY, now=NOON)
    assert plan.proposals[0].note == "same day as 14:00 US 1"


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"code": "WHATSIT"}, "code"), ({"side_may_follow": True, "laterality": "required"}, "side")],
)
def test_what_cannot_be_booked_yet_says_what_is_missing(fields: dict[str, Any], words: str) -> None:
    if rule := fields.pop("laterality", ""):
        fields["procedure_type"] = makers.make_procedure_type("XRWR", laterality=rule)
    plan = worklists.plan_for(makers.make_order(**fields), day=DAY, since=DAY, now=NOON)
    assert words in plan.problem
    assert plan.proposals == []


def test_stat_requests_come_first_then_by_age() -> None:
    orders = [
        makers.make_order(makers.make_patient(), priority=one)
        for one in ("routine", "asap", "stat", "routine")
    ]
    found = list(worklists.waiting_requests(person("clara")))
    assert found == [orders[2], orders[1], orders[0], orders[3]]


def test_requests_follow_the_kinds_of_rooms_chosen() -> None:
    order = makers.make_order()
    assert list(worklists.waiting_requests(person("clara"), chosen=["MR"])) == []
    assert list(worklists.waiting_requests(person("clara"), chosen=["CT", "MR"])) == [order]


def test_a_day_when_the_clocks_change_has_its_own_length() -> None:
    start, end = worklists.day_span(datetime(2026, 11, 1).date())
    assert end.astimezone(ZoneInfo("UTC")) - start.astimezone(ZoneInfo("UTC")) == timedelta(hours=25)


def test_the_day_is_read_in_as_many_queries_for_many_as_for_one(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for hour in range(8, 12):
        booked(at(hour), f"Family{hour}")
        with django_assert_num_queries(3):
            [(entry.flags, entry.checks, entry.exam) for entry in worklists.entries_of(DAY, NOON)]


def test_a_day_is_found_by_the_index_of_time() -> None:
    booked(at(8))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # a table of one row is read whole
    plan = worklists.appointments_of(DAY).explain()
    assert "appointments_by_time" in plan
