from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import NotSupportedError

from ris.supervisor.roles import as_owner

OLDEST_POSTGRES = 15


class Command(BaseCommand):
    help = "Bring the database up to date: migrations, the application's rights, seeds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seed", choices=("demo", "bare", "none"), default="none")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SHOW server_version_num")
                version = int(cursor.fetchone()[0]) // 10000
        except NotSupportedError as refusal:  # older than Django itself can use
            raise CommandError(str(refusal)) from None
        if version < OLDEST_POSTGRES:
            raise CommandError(f"Lightbox needs PostgreSQL {OLDEST_POSTGRES} or newer; this is {version}.")
        with as_owner():
            executor = MigrationExecutor(connection)
            if executor.migration_plan(executor.loader.graph.leaf_nodes()):
                self.stdout.write("Bringing the database up to date ...")
                call_command("migrate", verbosity=0, interactive=False)
            call_command("grants", stdout=self.stderr)
        if options["seed"] != "none":
            call_command("seed", options["seed"])
