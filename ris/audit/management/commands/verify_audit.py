from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ris.audit import sealing
from ris.audit.models import AuditEvent, AuditSeal


class Command(BaseCommand):
    help = (
        "Check the audit trail against its seals; status 1 when a row was edited, deleted, inserted or moved."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        sealing.seal()
        breaks = list(sealing.verify())
        for found in breaks:
            self.stderr.write(f"seal {found.seal}: {found.problem}")
        if breaks:
            raise CommandError(f"The audit trail is broken in {len(breaks)} place(s).")
        self.stdout.write(
            f"{AuditEvent.objects.count()} audit rows under {AuditSeal.objects.count()} seals: whole."
        )
