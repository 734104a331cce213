"""Numbers that must never be used twice."""

import uuid

from django.conf import settings
from django.db import connection


def new_uid() -> str:
    """A DICOM UID of at most 64 characters without leading zeros (PS3.5 9.1, B.2).

    Under `RIS_UID_ROOT`; with the root 2.25 the whole 128 bits of a random UUID follow it. A longer
    root leaves room for fewer digits, never for fewer than 80 bits.
    """
    return _uid(uuid.uuid4().int)


def uid_of(name: str) -> str:
    """The UID of the thing called so: always the same one, so that what is made twice is one thing."""
    return _uid(uuid.uuid5(_THINGS, name).int)


_THINGS = uuid.UUID("6f3ad1f4-9a0d-5b0e-8f6b-5d0f5c6a7a11")


def _uid(number: int) -> str:
    root = settings.RIS_UID_ROOT
    if root != "2.25":
        number %= 10 ** min(38, 64 - len(root) - 1)
    return f"{root}.{number}"


_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def base36(number: int) -> str:
    digits = ""
    while True:
        number, rest = divmod(number, 36)
        digits = _DIGITS[rest] + digits
        if not number:
            return digits


def next_number(sequence: str) -> int:
    """The next value of a PostgreSQL sequence; a gap is fine, a repeat cannot be."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(%s)", [sequence])
        (number,) = cursor.fetchone()
    return int(number)


def next_numbers(sequence: str, count: int) -> list[int]:
    """The next `count` values of a sequence, rising."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(%s) FROM generate_series(1, %s)", [sequence, count])
        return sorted(int(number) for (number,) in cursor.fetchall())


#: The number, the server's start and the database it lies in.
CONTROL_ID = """
SELECT nextval('core_control_id'), extract(epoch FROM pg_postmaster_start_time())::bigint,
       (SELECT oid::bigint FROM pg_database WHERE datname = current_database())
"""
_YEAR_2020 = 1_577_836_800


def new_control_id() -> str:
    """A message control id (MSH-10, at most 20 characters) that is not repeated after a restore.

    A restored database has counted back its sequence, but it is served by a server started later, or
    lies in a database made anew: both stand before the number.
    """
    with connection.cursor() as cursor:
        cursor.execute(CONTROL_ID)
        return control_id(*cursor.fetchone())


def control_id(number: int, started: int, database: int) -> str:
    return f"{base36(started - _YEAR_2020)}{base36(database % 1296).rjust(2, '0')}{base36(number)}"


def new_accession_number(prefix: str, year: int) -> str:
    """At most 16 characters (VR SH), unique in the installation: prefix, year, running number."""
    return accession_number(prefix, year, next_number("core_accession"))


def accession_number(prefix: str, year: int, number: int) -> str:
    return f"{prefix}{year % 100:02d}{number:07d}"


def new_step_id() -> str:
    """A Scheduled Procedure Step ID (0040,0009): at most 16 characters, unique here (VR SH)."""
    return step_id(next_number("core_step"))


def step_id(number: int) -> str:
    return f"S{number:07d}"
