import re
import secrets
import threading

import psycopg2
import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from ris.core.identifiers import (
    CONTROL_ID,
    control_id,
    new_accession_number,
    new_control_id,
    new_step_id,
    new_uid,
)
from ris.core.names import PersonName, fold


@pytest.mark.parametrize(
    "root", ["2.25", "1.2.826.0.1.3680043.10.1234", "1.3.6.1.4.1.99999.123456789.12345678.12"]
)
def test_a_uid_is_legal_under_any_root(root: str, settings: Settings) -> None:
    settings.RIS_UID_ROOT = root
    made = {new_uid() for _ in range(200)}
    assert len(made) == 200
    for uid in made:
        assert uid.startswith(root + ".")
        assert len(uid) <= 64
        assert re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+", uid)


@pytest.mark.django_db
def test_numbers_fit_their_fields() -> None:
    assert re.fullmatch(r"A26\d{7}", new_accession_number("A", 2026))
    assert len(new_accession_number("HARB", 2026)) <= 16
    assert len(new_step_id()) <= 16
    assert re.fullmatch(r"[0-9A-Z]{9,20}", new_control_id())


@pytest.mark.django_db(transaction=True)
def test_control_ids_are_not_repeated_when_a_restore_counts_back() -> None:
    before = new_control_id()
    parameters = {**connection.get_connection_params(), "dbname": "postgres"}
    parameters.pop("cursor_factory", None)
    server = psycopg2.connect(**parameters)
    server.autocommit = True
    restored = f"restored_{secrets.token_hex(4)}"
    server.cursor().execute(f"CREATE DATABASE {restored}")
    try:
        copy = psycopg2.connect(**{**parameters, "dbname": restored})
        with copy, copy.cursor() as cursor:
            cursor.execute("CREATE SEQUENCE core_control_id AS bigint")
            cursor.execute(CONTROL_ID)
            again = control_id(*cursor.fetchone())
        copy.close()
    finally:
        server.cursor().execute(f"DROP DATABASE {restored}")
        server.close()
    assert again[:8] != before[:8]


@pytest.mark.django_db(transaction=True)
def test_control_ids_of_many_threads_differ() -> None:
    made: list[str] = []

    def make() -> None:
        made.extend(new_control_id() for _ in range(50))
        connection.close()

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(made)) == 200


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (PersonName("Okafor", "Adaeze", prefix="Mrs"), "OKAFOR, Adaeze (Mrs)"),
        (PersonName("García Márquez", "José", "Luis"), "GARCÍA MÁRQUEZ, José Luis"),
        (PersonName("Okafor"), "OKAFOR"),
        (PersonName("King", "Martin", suffix="Jr"), "KING, Martin Jr"),
    ],
)
def test_a_name_shows_the_family_first(name: PersonName, shown: str) -> None:
    assert name.display == shown


@pytest.mark.parametrize(
    ("written", "folded"),
    [("Gómez-Ruiz", "GOMEZ RUIZ"), ("O'Brien", "OBRIEN"), ("Müller", "MULLER"), ("Strauß", "STRAUSS"),
     ("Łukasz  Ørsted", "LUKASZ ORSTED"), ("山田 太郎", "山田 太郎")],
)  # fmt: skip
def test_folding_forgets_accents_and_case(written: str, folded: str) -> None:
    assert fold(written) == folded
