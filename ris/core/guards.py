"""Triggers that keep rows as they were written."""

import pgtrigger


def append_only() -> list[pgtrigger.Trigger]:
    """No UPDATE, DELETE or TRUNCATE, by whoever; the application's role has no grant for them either."""
    return [
        pgtrigger.Protect(name="rows_never_change", operation=pgtrigger.Update),
        pgtrigger.Protect(name="rows_never_go", operation=pgtrigger.Delete),
        pgtrigger.Trigger(
            name="table_never_emptied",
            operation=pgtrigger.Truncate,
            level=pgtrigger.Statement,
            when=pgtrigger.Before,
            func="RAISE EXCEPTION 'pgtrigger: Cannot truncate rows from % table', TG_TABLE_NAME;",
        ),
    ]


def never_deleted() -> pgtrigger.Trigger:
    """Clinical rows end by status, never by DELETE."""
    return pgtrigger.Protect(name="rows_never_go", operation=pgtrigger.Delete)
