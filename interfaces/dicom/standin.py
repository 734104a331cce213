"""The worklist while the database is away: answered from a copy of the rows that lies beside the process.

Every `REFRESH_SECONDS` all values of the steps of the next days are read by the worklist's own expressions and kept in
an SQLite file that only its owner can read. Answers are written by the worklist's own code; only the comparison of
keys is done here once more, over values instead of rows, and the tests hold the two against each other.
"""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from django.db import connection
from django.utils import timezone

from interfaces.dicom import attributes, matching
from interfaces.dicom.attributes import (
    COMPONENT,
    GROUP,
    LOCAL_START,
    STEP_SEQUENCE,
    WORKLIST,
    Attribute,
    Match,
)
from interfaces.dicom.charsets import Decoder
from interfaces.dicom.datasets import OFFSET, SEPARATOR, Answers, Row
from interfaces.dicom.elements import DataSet
from interfaces.dicom.matching import Criteria
from interfaces.dicom.profiles import Profile
from ris.core.formats import local
from ris.department.models import Shown

REFRESH_SECONDS = 20.0
#: Steps from yesterday on; a machine asks for today's.
_DAYS_BEFORE, _DAYS_AFTER, _MOST_ROWS = 2, 7, 20_000

_START = f"to_char({LOCAL_START}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"
_STATUS = WORKLIST[STEP_SEQUENCE].item[0x00400020].sql
_ZONE = "facility.timezone"
#: By which numbers a patient is found: also by those of records that went into theirs.
_NUMBERS = (
    f"(SELECT string_agg(given.value, '{GROUP}') FROM patients_patientidentifier given"
    " JOIN patients_patient holder ON holder.id = given.patient_id"
    " WHERE given.primary AND coalesce(holder.merged_into_id, holder.id) = patient.id)"
)
#: Where the copy says how old it is: texts that a technologist reads.
_NOTES = (WORKLIST[0x00401400].sql, WORKLIST[STEP_SEQUENCE].item[0x00400400].sql)

Values = Mapping[str, str]
Test = Callable[[Values], bool]


class NoCopy(Exception):
    """There is none, or none that can be read."""


@dataclass(frozen=True)
class Snapshot:
    taken_at: datetime
    #: The stations as `stations.rows` gave them.
    stations: list[dict[str, Any]]
    #: What was selected, in order; and the rows by it.
    columns: list[str]
    rows: list[Row]

    @property
    def age(self) -> timedelta:
        return timezone.now() - self.taken_at

    @property
    def note(self) -> str:
        """What the answers say of themselves."""
        return f"RIS is down; schedule as of {local(self.taken_at):%d-%b %H:%M}"

    def answer(
        self, identifier: DataSet, decode: Decoder, criteria: Criteria, answers: Answers, profile: Profile
    ) -> list[Row]:
        """The rows that match, as the database would give them to `answers`."""
        holds = [
            *_tests(identifier, WORKLIST, decode),
            *_start_tests(identifier, decode),
            *_narrow(criteria, profile),
        ]
        place = {column: number for number, column in enumerate(self.columns)}
        wanted = [(place.get(column), column in _NOTES) for column in answers.columns]
        found = []
        for row in self.rows:
            parts = row.split(SEPARATOR)
            values = dict(zip(self.columns, parts, strict=False))
            if len(parts) == len(self.columns) and all(test(values) for test in holds):
                found.append(
                    SEPARATOR.join(
                        (f"{self.note}. " if is_note else "") + ("" if at is None else parts[at])
                        for at, is_note in wanted
                    )
                )
        return found


class Copy:
    """The file. Each write replaces it whole, in one transaction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loaded: Snapshot | None = None

    def refresh(self, stations: list[dict[str, Any]]) -> None:
        """Read the database; runs in a thread of its pool."""
        taken_at = timezone.now()
        columns, tables = _all_columns()
        with connection.cursor() as cursor:
            cursor.execute(_statement(columns, tables), [taken_at - timedelta(days=_DAYS_BEFORE),
                           taken_at + timedelta(days=_DAYS_AFTER), _MOST_ROWS])  # fmt: skip
            rows = cursor.fetchall()
        facts = json.dumps({"taken_at": taken_at.isoformat(), "stations": stations, "columns": columns})
        with open_private(self._path) as file:
            file.executescript(
                "CREATE TABLE IF NOT EXISTS facts (text); CREATE TABLE IF NOT EXISTS row (text)"
            )
            with file:
                file.execute("DELETE FROM facts")
                file.execute("DELETE FROM row")
                file.execute("INSERT INTO facts VALUES (?)", [facts])
                file.executemany("INSERT INTO row VALUES (?)", rows)
        self._loaded = None

    def load(self) -> Snapshot:
        """Raises NoCopy."""
        if self._loaded is None:
            try:
                with open_private(self._path) as file:
                    (text,) = file.execute("SELECT text FROM facts").fetchone()
                    rows = [row for (row,) in file.execute("SELECT text FROM row ORDER BY rowid")]
            except (sqlite3.Error, TypeError, OSError):
                raise NoCopy from None
            facts = json.loads(text)
            self._loaded = Snapshot(
                datetime.fromisoformat(facts["taken_at"]), facts["stations"], facts["columns"], rows
            )
        return self._loaded

    def forget(self) -> None:
        """Let go of what is in memory: the database is back."""
        self._loaded = None


class open_private:
    """An SQLite file that its owner alone can read, for a `with`; deleted content is overwritten."""

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.chmod(0o600)
        self._file = sqlite3.connect(path, timeout=10)
        self._file.execute("PRAGMA secure_delete = ON")
        # EXTRA syncs the directory too: what is committed outlives a power cut.
        self._file.execute(f"PRAGMA synchronous = {'EXTRA' if durable else 'OFF'}")

    def __enter__(self) -> sqlite3.Connection:
        return self._file

    def __exit__(self, *exc: object) -> None:
        self._file.close()


# What is copied


def _all_columns() -> tuple[list[str], set[str]]:
    columns = dict.fromkeys([_START, _STATUS, _ZONE, _NUMBERS, OFFSET.sql])
    tables: set[str] = set()
    for attribute in _every(WORKLIST):
        columns.update(dict.fromkeys(filter(None, (attribute.sql, _key(attribute)))))
        tables.update(attribute.tables)
    return list(columns), tables


def _every(known: Mapping[int, Attribute]) -> Iterator[Attribute]:
    for attribute in known.values():
        yield attribute
        yield from _every(attribute.item)


def _key(attribute: Attribute) -> str:
    """The expression whose value its key is compared with; several values are parted by GROUP."""
    if attribute.within:
        return _NUMBERS
    if attribute.match is Match.ANY_OF_MANY:
        return f"array_to_string({attribute.key}, '{GROUP}')"
    return attribute.key or attribute.sql


def _statement(columns: list[str], tables: set[str]) -> str:
    joins = "\n".join(join for table, join in attributes.TABLES.items() if table in tables)
    values = ", ".join(f"replace(coalesce(({sql})::text, ''), '{SEPARATOR}', ' ')" for sql in columns)
    return (
        f"SELECT concat_ws('{SEPARATOR}', {values}) {attributes.FROM}{joins}\n"
        f"WHERE {attributes.visible(tuple(Shown.values))} AND step.starts_at BETWEEN %s AND %s\n"
        f"ORDER BY step.starts_at, {attributes.URGENCY}, step.id LIMIT %s"
    ).replace("%", "%%").replace("%%s", "%s")  # fmt: skip


# How keys match (PS3.4 C.2.2.2), over values


def _tests(keys: DataSet, known: Mapping[int, Attribute], decode: Decoder) -> Iterator[Test]:
    for tag in keys:
        attribute = known.get(tag) if matching.is_key(tag) else None
        if attribute is None or attribute.match is Match.NONE:
            continue
        if attribute.vr == "SQ":
            item = matching.single_item(keys, tag)
            if item is not None:
                yield from _tests(item, attribute.item, decode)
            continue
        text = matching.text_of(keys, tag, decode)
        wanted = [value.strip() for value in text.split("\\") if value.strip()]
        if wanted and "*" not in wanted and attribute.match not in (Match.START_DATE, Match.START_TIME):
            yield _test(tag, attribute, text, wanted)


def _test(tag: int, attribute: Attribute, text: str, wanted: list[str]) -> Test:
    key = _key(attribute)
    if attribute.match is Match.NAME:
        patterns = [
            _pattern(matching.upper(group.rstrip("^ ")))
            for value in wanted
            for group in value.split("=")
            if group.rstrip("^ ")
        ]
        # Delimiters alone match like nothing.
        return lambda values: (
            not patterns
            or any(pattern.fullmatch(group) for group in _groups(values.get(key, "")) for pattern in patterns)
        )
    if attribute.match is Match.DATE:
        earliest, latest = matching.date_range(tag, text)
        first, last = (earliest or date.min).isoformat(), (latest or date.max).isoformat()
        return lambda values: len(values[key]) == 10 and first <= values[key] <= last
    patterns = [
        _pattern(value) if attribute.match is Match.WILDCARD else re.compile(re.escape(value), re.DOTALL)
        for value in wanted
    ]
    return lambda values: any(
        pattern.fullmatch(one) for one in values[key].split(GROUP) if one for pattern in patterns
    )


def _pattern(value: str) -> re.Pattern[str]:
    return re.compile(
        "".join({"*": ".*", "?": "."}.get(letter) or re.escape(letter) for letter in value), re.DOTALL
    )


def _groups(name: str) -> Iterator[str]:
    """The component groups that are there, as the keys write them."""
    alphabetic, *others = name.split(GROUP)
    yield matching.upper("^".join(alphabetic.split(COMPONENT)).rstrip("^"))
    yield from (matching.upper(group) for group in others if group)


def _start_tests(identifier: DataSet, decode: Decoder) -> Iterator[Test]:
    """Date and time of the start, as `matching` combines them (PS3.4 table K.6-1)."""
    step = matching.single_item(identifier, STEP_SEQUENCE) or {}
    days_text, times_text = (matching.text_of(step, tag, decode) for tag in (0x00400002, 0x00400003))
    days = matching.date_range(0x00400002, days_text) if days_text.strip("*") else None
    times = matching.time_range(0x00400003, times_text) if times_text.strip("*") else None
    if times is not None and (days is None or ("-" not in times_text and days[0] != days[1])):
        begin, end = times
        yield lambda values: _within(datetime.fromisoformat(values[_START]).time(), begin, end)
        times = None
    if days is None:
        return
    first = datetime.combine(days[0], (times[0] if times else None) or time.min) if days[0] else None
    last = None
    if days[1]:
        until = times[1] if times else None
        last = (
            datetime.combine(days[1], until)
            if until
            else datetime.combine(days[1] + timedelta(days=1), time.min)
        )
    yield lambda values: _within(datetime.fromisoformat(values[_START]), first, last)


def _within(value: Any, first: Any, last: Any) -> bool:
    return (first is None or value >= first) and (last is None or value < last)


def _narrow(criteria: Criteria, profile: Profile) -> Iterator[Test]:
    """What the station's settings leave out (MWL-25)."""
    yield lambda values: values[_STATUS] in profile.shown
    if profile.only_own(criteria):
        yield lambda values: profile.only in values[_key(_OWN)].split(GROUP)
    first, last = profile.days(criteria)
    yield lambda values: _within(datetime.fromisoformat(values[_START]), first, last)


_OWN = WORKLIST[STEP_SEQUENCE].item[0x00400001]
