"""Print the HL7 conformance statement."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from interfaces.hl7.conformance import conformance_statement, shown_by


class Command(BaseCommand):
    requires_system_checks = []
    help = "Print the HL7 conformance statement (docs/hl7-conformance.md)."

    def handle(self, *args: Any, **options: Any) -> None:
        statement = conformance_statement(
            settings.BASE_DIR / "docs" / "hl7-rows.csv", shown_by(settings.BASE_DIR / "tests")
        )
        self.stdout.write(statement, ending="")
