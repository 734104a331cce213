from typing import Any

from django.core.management.commands import migrate

from ris.supervisor.roles import as_owner


class Command(migrate.Command):
    """Django's own `migrate`, as the role that owns the tables."""

    def handle(self, *args: Any, **options: Any) -> None:
        with as_owner():
            super().handle(*args, **options)
