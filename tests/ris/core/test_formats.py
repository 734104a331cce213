"""How the department writes and reads dates, ages and numbers."""

from datetime import UTC, date, datetime, timedelta

import pytest

from ris.core import formats

TODAY = date(2026, 11, 19)
EARLY = datetime(2026, 11, 20, 3, 30, tzinfo=UTC)  # still the 19th in New York


def test_months_are_words_and_days_have_two_figures() -> None:
    assert formats.day(date(2026, 3, 1)) == "01-Mar-2026"
    assert formats.weekday(TODAY) == "Thu 19-Nov-2026"


def test_the_day_is_the_facilitys_not_utcs() -> None:
    assert formats.moment(EARLY) == "19-Nov-2026 22:30"
    assert formats.weekday(EARLY) == "Thu 19-Nov-2026"


def test_midnight_is_zero() -> None:
    assert formats.clock(datetime(2026, 11, 20, 5, 0, tzinfo=UTC)) == "00:00"


def test_a_partial_date_keeps_its_precision() -> None:
    assert [formats.day(text) for text in ("1941", "1941-05", "1941-05-02", "")] == [
        "1941", "May-1941", "02-May-1941", "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("born", "said"),
    [
        ("1968-07-14", "58y"), ("1968-11-20", "57y"), ("2024-11-19", "2y"), ("2024-11-20", "23m"), ("2025-11-20", "52w"),
        ("2026-10-22", "4w"), ("2026-10-23", "27d"), ("2026-11-19", "0d"), ("1968", "about 58y"), ("2027-01-01", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_ages_are_said_in_the_unit_that_matters(born: str, said: str) -> None:
    assert formats.age(born, TODAY) == said


def test_an_unknown_birth_date_is_said_in_words() -> None:
    assert formats.born("") == "Not known"
    assert formats.born("1968-07-14", TODAY) == "14-Jul-1968 (58y)"


@pytest.mark.parametrize(
    ("length", "said"),
    [(0, "0 min"), (45, "45 min"), (60, "1 h"), (72, "1 h 12"), (timedelta(days=1, hours=2), "1 d 2 h")],
)
def test_durations_are_short(length: float, said: str) -> None:
    assert formats.minutes(length) == said


def test_relative_times_look_both_ways() -> None:
    now = datetime(2026, 11, 19, tzinfo=UTC)
    shifts = [timedelta(minutes=16), timedelta(minutes=-4), timedelta(seconds=20)]
    assert [formats.relative(now + shift, now) for shift in shifts] == ["in 16 min", "4 min ago", "now"]


def test_identifiers_are_grouped_for_reading_and_otherwise_left_alone() -> None:
    assert formats.mrn("004417268") == "004 417 268"
    assert formats.mrn("H-4417") == "H-4417"
    assert formats.accession("A261140732") == "A26-114 0732"
    assert formats.accession("XR2026/17") == "XR2026/17"
    assert formats.phone("5550100") == "555 0100"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("t", TODAY), ("+3d", date(2026, 11, 22)), ("+2w", date(2026, 12, 3)), ("-1m", date(2026, 10, 19)),
        ("+5", date(2026, 11, 24)),
        ("+1y", date(2027, 11, 19)), ("19 11", TODAY), ("5 1", date(2027, 1, 5)), ("1 11", date(2026, 11, 1)),
        ("19-Nov-2026", TODAY), ("Thu 19-Nov-2026", TODAY), ("2026-11-19", TODAY), ("14 7 1968", date(1968, 7, 14)),
        ("19.11.26", TODAY),
    ],
)  # fmt: skip
def test_a_typed_day_is_understood(typed: str, meant: date) -> None:
    assert formats.parse_day(typed, TODAY) == meant


@pytest.mark.parametrize(
    "typed", ["", "31 4", "31-Apr-2026", "yesterday", "19", "1 2 3 4", "0 0", "+9999d", "29 2", "1 13", "٣ ٤"]
)
def test_what_is_no_day_is_none(typed: str) -> None:
    assert formats.parse_day(typed, TODAY) is None


def test_the_end_of_a_short_month_is_kept() -> None:
    assert formats.parse_day("+1m", date(2027, 1, 31)) == date(2027, 2, 28)
