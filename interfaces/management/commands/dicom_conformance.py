"""Print the DICOM conformance statement."""

from typing import Any

from django.core.management.base import BaseCommand

from interfaces.dicom.conformance import conformance_statement


class Command(BaseCommand):
    requires_system_checks = []
    help = "Print the DICOM conformance statement (docs/dicom-conformance.md)."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(conformance_statement(), ending="")
