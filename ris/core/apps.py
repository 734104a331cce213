from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


def seal_guards(using: str, **kwargs: object) -> None:
    """Take away pgtrigger's session switch, so that no role can turn a guard off with a SET.

    pgtrigger recreates the function whenever it installs a trigger; this runs after every migrate.
    """
    with connections[using].cursor() as cursor:
        cursor.execute(
            "CREATE OR REPLACE FUNCTION public._pgtrigger_should_ignore(trigger_name NAME) RETURNS BOOLEAN"
            " LANGUAGE sql IMMUTABLE AS $$ SELECT FALSE $$"
        )


class CoreConfig(AppConfig):
    name = "ris.core"

    def ready(self) -> None:
        post_migrate.connect(seal_guards, dispatch_uid="ris.core.seal_guards")
