from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from ris.supervisor.roles import as_owner, grant


class Command(BaseCommand):
    help = "Give the application's database role its rights; run it after migrate."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--role", default="", help="default: the user of DATABASE_URL")

    def handle(self, *args: Any, **options: Any) -> None:
        role: str = options["role"] or settings.RIS_APPLICATION_ROLE
        if role == settings.RIS_OWNER_DATABASE["USER"]:
            self.stdout.write(
                f"Nothing to grant: {role} owns the tables and is what the services connect as."
            )
            return
        with as_owner():
            grant(role)
