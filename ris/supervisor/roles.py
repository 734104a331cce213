"""Two database roles: the owner makes and changes tables, the application works in them and no more."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.apps import apps
from django.conf import settings
from django.db import connection, transaction
from psycopg2 import sql


@contextmanager
def as_owner() -> Iterator[None]:
    """Let the default connection be the owner's (`RIS_MIGRATE_DATABASE_URL`) for a while."""
    mine = {name: connection.settings_dict[name] for name in settings.RIS_OWNER_DATABASE}
    if mine == settings.RIS_OWNER_DATABASE:
        yield
        return
    connection.close()
    connection.settings_dict.update(settings.RIS_OWNER_DATABASE)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(mine)


def grant(role: str) -> None:
    """Give `role` what a running service needs: rows, never tables; append-only rows only to read and to add.

    A model says of itself that it is `append_only`. Triggers guard those rows as well, but whoever may write
    a row can switch off its trigger; a missing right cannot be switched on.
    """
    role_name = sql.Identifier(role)
    tables: dict[bool, list[sql.Identifier]] = {True: [], False: []}
    for model in apps.get_models(include_auto_created=True):
        if model._meta.managed and not model._meta.proxy:
            tables[getattr(model, "append_only", False)].append(sql.Identifier(model._meta.db_table))
    statements = [
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        "GRANT USAGE ON SCHEMA public TO {role}",
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
        "GRANT INSERT, UPDATE, DELETE ON {changing} TO {role}",
        "GRANT INSERT ON {append_only} TO {role}",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}",
    ]
    parts = {
        "role": role_name,
        "changing": sql.SQL(", ").join(tables[False]),
        "append_only": sql.SQL(", ").join(tables[True]),
    }
    for model in apps.get_models():
        # Functions of the owner's, each made for one purpose, that a model names.
        for function in getattr(model, "may_call", ()):
            statements.append(f"GRANT EXECUTE ON FUNCTION {function} TO {{role}}")
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            if tables[True] or "{append_only}" not in statement:
                cursor.execute(sql.SQL(statement).format(**parts))
