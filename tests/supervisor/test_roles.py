import pytest
from django.db import connection
from django.db.utils import ProgrammingError

from ris.audit.models import AuditEvent


@pytest.mark.usefixtures("as_application")
@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE {AuditEvent._meta.db_table} SET id = id",
        f"DELETE FROM {AuditEvent._meta.db_table}",
        f"TRUNCATE {AuditEvent._meta.db_table} CASCADE",
        "TRUNCATE accounts_user CASCADE",
        "ALTER TABLE accounts_user DISABLE TRIGGER ALL",
        "CREATE TABLE mine (id int)",
        "DELETE FROM django_migrations",
    ],
)
def test_a_running_service_cannot_change_tables_or_append_only_rows(statement: str) -> None:
    with (
        pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
