"""What people type on the phone finds the patient it is meant for."""

from datetime import date
from typing import Any

import pytest
from django.db import connection
from pytest_django.fixtures import DjangoAssertNumQueries

from ris.core.names import PersonName
from ris.patients.actions import NewIdentifier, update_patient
from ris.patients.models import NameWord, Patient
from ris.patients.search import birth_dates, find_patients, likely_same, parse, search_patients
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db

PEOPLE = {
    "adaeze": {"family": "Okafor", "given": "Adaeze", "mrn": "004417268", "mobile": "+44 7700 907719"},
    "ada": {"family": "Okafor", "given": "Ada", "mrn": "001920733", "birth_date": "1968-02-02"},
    "jurgen": {"family": "Müller", "given": "Jürgen", "middle": "Karl", "birth_date": "1950-05-04", "sex": "M"},
    "obrien": {"family": "O'Brien", "given": "Siân", "birth_date": "1983-11-30"},
    "lukasz": {"family": "Łukaszewicz", "given": "Zoë", "birth_date": "2001-01-09"},
    "smithjones": {"family": "Smith-Jones", "given": "Mary Ann", "birth_date": "1977"},
    "yamada": {"family": "Yamada", "given": "Taro", "ideographic": "山田^太郎", "birth_date": "1990-12-24"},
    "diaz": {"family": "Díaz", "given": "José", "birth_date": "1944-08", "phone": "0207 946 0018"},
    "li": {"family": "Li", "given": "Na", "birth_date": "1999-03-03"},
    "catherine": {"family": "Schmidt", "given": "Catherine", "birth_date": "1962-10-10"},
}  # fmt: skip


@pytest.fixture
def people() -> dict[str, Patient]:
    made = {name: makers.make_patient(**fields) for name, fields in PEOPLE.items()}
    for family in (
        "Samuels",
        "Klein",
        "Rossi",
        "Petrova",
        "Todd",
        "Walsh",
        "Lindqvist",
        "Andersson",
        "Maurer",
        "Liang",
    ):
        makers.make_patient(family, "Grace", birth_date="1971-06-06")
    return made


TYPED = [
    # Fragments in any order, with a birth year or date.
    ("okaf 68", "adaeze"), ("adae okaf", "adaeze"), ("OKAFOR, Adaeze (Mrs)", "adaeze"),
    ("okafor 14 7 1968", "adaeze"), ("okafor 14-Jul-1968", "adaeze"), ("okafor 1968-07-14", "adaeze"),
    ("14.7.1968", "adaeze"), ("14jul68", "adaeze"), ("July 14, 1968", "adaeze"), ("19680714", "adaeze"),
    ("7/14/1968 okafor", "adaeze"), ("ada okafor 2 2 68", "ada"), ("muller 1950", "jurgen"), ("karl jur", "jurgen"),
    ("li na", "li"), ("li 99", "li"), ("mary jones", "smithjones"), ("jones 3-3-1977", "smithjones"),
    ("diaz 1944", "diaz"), ("aug 1944", "diaz"),
    # Accents and letters typed or not.
    ("MÜLLER jürgen", "jurgen"), ("Mueller", "jurgen"), ("lukaszewicz", "lukasz"), ("Łukaszewicz zoe", "lukasz"),
    ("obrien", "obrien"), ("O'BRIEN sian", "obrien"), ("o brien", "obrien"), ("dIaZ jose", "diaz"), ("山田", "yamada"),
    # Slips: a letter too few, too many, wrong, swapped; heard instead of read.
    ("okfor 68", "adaeze"), ("okkafor adaeze", "adaeze"), ("okador adaeze", "adaeze"), ("okafro adaeze", "adaeze"),
    ("adeaze", "adaeze"), ("mulller jurgen", "jurgen"), ("daiz jose", "diaz"), ("kathryn shmit", "catherine"),
    ("lukasiewics", "lukasz"), ("yamad taor", "yamada"),
    # Numbers, grouped or not; ends of them.
    ("004417268", "adaeze"), ("004 417 268", "adaeze"), ("MRN 004-417-268", "adaeze"), ("417268", "adaeze"),
    ("7719", "adaeze"), ("07700 907719", "adaeze"), ("okafor 7719", "adaeze"), ("020 7946 0018", "diaz"),
    ("tel 9460018", "diaz"),
]  # fmt: skip


def test_a_patient_is_found_by_what_is_typed(people: dict[str, Patient]) -> None:
    missed = [
        (typed, meant)
        for typed, meant in TYPED
        if people[meant].pk not in [one.pk for one in search_patients(typed)[:3]]
    ]
    assert missed == []


NOBODY = ["", " ", "%", "_", "'", "\\", ">", "zzzzzz", "1", "9999-99-99", "\x00", "🙂", "x" * 5000, "okafor 1931",
          "31 4 1968 okafor"]  # fmt: skip


def test_what_fits_nobody_finds_nobody(people: dict[str, Patient]) -> None:
    assert [typed for typed in NOBODY if search_patients(typed)] == []


def test_a_number_comes_before_names_and_whole_words_before_beginnings() -> None:
    liam = makers.make_patient("Liang", "Wei")
    li = makers.make_patient("Li", "Xia")
    given = makers.make_patient("Abe", "Li")
    assert [one.patient for one in find_patients("li")] == [li, given, liam]
    assert find_patients("E-77 12") == []
    update_patient(given, {}, identifiers=(NewIdentifier("E7712", "EAST"),), by=person("clara"))
    (found,) = find_patients("E-77 12")
    assert (found.patient, found.by_number) == (given, True)


def test_a_merged_record_leads_to_the_one_it_became() -> None:
    old = makers.make_patient("Okafor-Green", "Ada", mrn="000000111")
    new = makers.make_patient("Okafor", "Adaeze")
    Patient.objects.filter(pk=old.pk).update(merged_into=new)
    for typed in ("000000111", "okafor-green"):
        (found,) = find_patients(typed)
        assert (found.patient.pk, found.formerly) == (new.pk, "OKAFOR-GREEN, Ada")


def test_rows_that_can_be_mixed_up_are_marked(people: dict[str, Patient]) -> None:
    found = find_patients("okafor")
    assert [one.alike for one in found] == ["Similar name and year"] * 2
    assert not any(one.similar for one in found)
    assert [one.similar for one in find_patients("okafro")] == [True, True]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("14-Jul-1968", ["1968-07-14"]), ("14 7 1968", ["1968-07-14"]), ("1968-07-14", ["1968-07-14"]),
        ("14/7/68", ["1968-07-14"]), ("4/5/1968", ["1968-05-04", "1968-04-05"]), ("Jul-1968", ["1968-07"]),
        ("1968", ["1968"]),
        ("1 1 30", ["1930-01-01"]), ("1 1 26", ["2026-01-01"]), ("29 2 1968", ["1968-02-29"]), ("29 2 1967", []),
        ("31 4 1968", []), ("1849", []), ("20-Nov-2026", []), ("004 417 268", []), ("x", []), ("", []),
    ],
)  # fmt: skip
def test_a_birth_date_is_read_as_it_is_said(typed: str, meant: list[str]) -> None:
    assert birth_dates(typed, date(2026, 11, 19)) == meant


def test_a_given_name_is_no_month() -> None:
    assert parse("todd may 1996").names == ("TODD", "MAY")


def test_the_words_of_names_are_kept_for_comparing() -> None:
    patient = makers.make_patient("Van den Berg", "Ida")
    update_patient(patient, {"family": "Okonkwo"}, by=person("clara"))
    assert {"VAN", "DEN", "BERG", "IDA", "OKONKWO"} <= set(NameWord.objects.values_list("word", flat=True))
    makers.make_patient("ﷺ" * 90, "Endless")
    assert search_patients("endles")


def test_who_may_be_the_same_is_told_before_registering(people: dict[str, Patient]) -> None:
    def same(family: str, given: str, born: str = "") -> list[Patient]:
        return likely_same(PersonName(family, given), born)

    assert same("Okafor", "Adaeze", "1968-07-14") == [people["adaeze"]]
    assert same("Okafro", "Adaeze", "1968-07-14") == [people["adaeze"]]
    assert same("Okafor", "Ade", "1968-07-14")[0] == people["adaeze"]
    assert same("Okafor", "Adaeze") == [people["adaeze"]]
    assert same("Okafor", "Adaeze", "1999-01-01") == []
    assert same("Smith Jones", "Mary", "1977-05-05") == [people["smithjones"]]
    assert same("Nobody", "Known", "1950-05-04") == []


def test_searching_takes_few_queries(
    people: dict[str, Patient], django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for typed in ("okaf 68", "okfor adaze", "004417268", "14-Jul-1968"):
        with django_assert_max_num_queries(7):
            assert [one.patient.mrn for one in find_patients(typed)]


def _fill(count: int) -> None:
    """`count` patients of 400 family and 60 given names, quicker than by the verb and without its facts."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO patients_patient (family, given, middle, prefix, suffix, ideographic, phonetic, birth_date, sex,
              phone, mobile, email, address, language, allergies, alerts, died_on, restricted, registered_at, version,
              aliases, mothers_name, race, multiple_birth, contacts, coverages, search)
            SELECT f, g, '', '', '', '', '', b, 'F', '', m, '', '', '', '', '', '', false, now(), 1,
                   '', '', '', false, '[]', '[]',
                   ' ' || upper(f) || ' ' || upper(g) || ' ' || b || ' ' || m || ' '
            FROM (SELECT chr(65 + i %% 20) || translate(md5((i %% 400)::text),
                         '0123456789abcdef', 'aeioulnrstmkaeio') AS f,
                         initcap(translate(substr(md5((i %% 60)::text), 1, 7), '0123456789abcdef', 'aeioulnrstmkaeio')) AS g,
                         to_char(date '1930-01-01' + (i * 37) %% 33000, 'YYYY-MM-DD') AS b,
                         '555' || lpad((i::bigint * 7919 %% 10000000)::text, 7, '0') AS m
                  FROM generate_series(1, %s) AS i) AS people
            """,
            [count],
        )
        # What autovacuum does on a running system.
        cursor.execute("SELECT gin_clean_pending_list('patient_search_trigrams')")
        cursor.execute("ANALYZE patients_patient")


def test_no_search_reads_all_patients(people: dict[str, Patient]) -> None:
    """EXPLAIN of each statement: patients can be reached by the trigram index or by their key."""
    _fill(2_000)
    with connection.cursor() as cursor:
        # So few are quickly read as a whole; that must be a choice, not the only way.
        cursor.execute("SET LOCAL enable_seqscan = off")
    for typed in ("okaf 68", "li", "okafro adaeze", "14-Jul-1968", "7719", "mary jones 1977"):
        plans = _plans(typed)
        assert any("patient_search_trigrams" in plan for plan in plans), "\n".join([typed, *plans])
        assert [plan for plan in plans if "Seq Scan on patients_patient " in plan] == [], typed


def _plans(typed: str) -> list[str]:
    statements: list[tuple[str, object]] = []

    def note(execute: Any, sql: str, params: object, many: bool, context: object) -> object:
        statements.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        find_patients(typed)
    plans = []
    with connection.cursor() as cursor:
        for sql, params in statements:
            cursor.execute(f"EXPLAIN {sql}", params)
            plans.append("\n".join(line for (line,) in cursor.fetchall()))
    return plans
