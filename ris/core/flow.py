"""Status life cycles: one table in code, the same table as a trigger in the database."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pgtrigger
from django.db import models
from django.utils import timezone

from ris.core.errors import IllegalTransition


class Flow:
    """Which status may follow which. A status that nothing follows is final."""

    def __init__(self, table: Mapping[Any, frozenset[Any]]) -> None:
        self.table = {str(status): frozenset(map(str, after)) for status, after in table.items()}

    @property
    def statuses(self) -> list[str]:
        return list(self.table)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return sorted((before, after) for before, nexts in self.table.items() for after in nexts)

    def allows(self, before: str, after: str) -> bool:
        return str(after) in self.table[str(before)]

    def is_final(self, status: str) -> bool:
        return not self.table[str(status)]

    def trigger(self) -> pgtrigger.FSM:
        """The guard for a `status` column: an UPDATE outside the table is refused."""
        return pgtrigger.FSM(name="status_follows_flow", field="status", transitions=self.pairs)

    def check(self, name: str) -> models.CheckConstraint:
        """`choices` do not bind the database; this does."""
        return models.CheckConstraint(condition=models.Q(status__in=self.statuses), name=name)


class StatusRecord(models.Model):
    """A record with a life cycle. `move` is the only way its status changes."""

    flow: Flow

    status = models.CharField(max_length=20)
    status_at = models.DateTimeField(default=timezone.now)
    #: Rises with every change a person could have overlooked; writes carry the one they saw.
    version = models.PositiveIntegerField(default=1)

    class Meta:
        abstract = True

    def move(self, to: str, *, at: datetime | None = None) -> None:
        """Change the status of a row the caller has locked; stamps `status_at` and `<status>_at`.

        Raises IllegalTransition, with the words a person knows.
        """
        if not self.flow.allows(self.status, to):
            noun = self._meta.verbose_name
            raise IllegalTransition(f"This {noun} is {_words(self.status)}; it cannot become {_words(to)}.")
        moment = at or timezone.now()
        self.status = str(to)
        self.status_at = moment
        self.version += 1
        fields = ["status", "status_at", "version"]
        stamp = f"{to}_at"
        if any(field.name == stamp for field in self._meta.concrete_fields):
            setattr(self, stamp, moment)
            fields.append(stamp)
        self.save(update_fields=fields)


def _words(status: str) -> str:
    return status.replace("_", " ")
