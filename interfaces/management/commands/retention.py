"""Remove messages' bytes and rows that need not be kept any longer."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from interfaces import retention
from ris.core.errors import RisError


class Command(BaseCommand):
    help = (
        "Remove messages' bytes after RIS_KEEP_BYTES_DAYS and their rows after RIS_KEEP_MESSAGES_YEARS. "
        "Open messages, and those with an open case, always stay. Beat runs this every night."
    )
    requires_system_checks = ["ris"]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say what would go")
        parser.add_argument("--months", type=int, metavar="N", help="keep the bytes of N full months instead")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            kept = retention.limits(timezone.now(), months=options["months"])
        except RisError as refusal:
            raise CommandError(refusal.message) from None
        done = retention.apply(kept, dry_run=options["dry_run"])
        would = "would be " if options["dry_run"] else ""
        months = ", ".join(f"{month:%Y-%m}" for month in done.months) or "none"
        self.stdout.write(f"Months whose bytes {would}removed: {months}")
        self.stdout.write(f"Open messages whose bytes {would}moved on: {done.moved_on}")
        self.stdout.write(f"Attachments {would}removed: {done.attachments}")
        self.stdout.write(f"Messages {would}removed altogether: {done.messages}")
