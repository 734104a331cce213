from typing import Any

from django.core.management.commands import migrate

from ris.core import faults
from ris.supervisor.roles import as_owner


class Command(migrate.Command):
    """Django's own `migrate`, as the role that owns the tables."""

    def handle(self, *args: Any, **options: Any) -> None:
        with as_owner():
            super().handle(*args, **options)

    def migration_progress_callback(self, action: str, migration: Any = None, fake: bool = False) -> None:
        super().migration_progress_callback(action, migration, fake)
        if action == "apply_success":
            faults.point("mid_migration")
