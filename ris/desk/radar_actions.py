"""What people say about stuck records; what puts a record right is its own app's verb."""

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.core.errors import BadValue, MissingData, NotFound
from ris.core.formats import moment
from ris.core.stuck import Kind, kinds
from ris.department.models import Facility
from ris.desk.models import RadarAct, RadarNote, RadarRule
from ris.events.outbox import record

LONGEST_SNOOZE = timedelta(days=14)


def _kind(name: str) -> Kind:
    kind = kinds().get(name)
    if kind is None:
        raise NotFound("There is no such kind of being stuck.")
    return kind


@transaction.atomic
def snooze(
    kind: str, pk: int, *, until: datetime, reason: str, by: User, at: datetime | None = None
) -> RadarNote:
    """Leave it off the list until then. It comes back by itself if it is still stuck."""
    require(by, _kind(kind).right)
    now = at or timezone.now()
    if not reason.strip():
        raise MissingData("Say why it can wait.", location="reason")
    if not now < until <= now + LONGEST_SNOOZE:
        raise BadValue(
            f"Pick a moment between now and {moment(now + LONGEST_SNOOZE)}.", location="until"
        )  # fmt: skip
    return _note(kind, pk, RadarAct.SNOOZED, by=by, until=until, reason=reason.strip()[:200])


@transaction.atomic
def wake(kind: str, pk: int, *, by: User) -> RadarNote:
    """Have it back on the list at once."""
    require(by, _kind(kind).right)
    return _note(kind, pk, RadarAct.WOKEN, by=by)


@transaction.atomic
def take(kind: str, pk: int, *, by: User) -> RadarNote:
    """Say that one sees to it oneself."""
    require(by, _kind(kind).right)
    return _note(kind, pk, RadarAct.TAKEN, by=by)


@transaction.atomic
def leave(kind: str, pk: int, *, by: User) -> RadarNote:
    """Give it back to everybody."""
    require(by, _kind(kind).right)
    return _note(kind, pk, RadarAct.LEFT, by=by)


def _note(
    kind: str, pk: int, act: RadarAct, *, by: User, until: datetime | None = None, reason: str = ""
) -> RadarNote:
    note = RadarNote.objects.create(kind=kind, record=pk, act=act, until=until, reason=reason, by=by)
    record(f"radar.{act}", f"radar:{kind}:{pk}", by=by, record=pk)
    return note


@transaction.atomic
def set_deadline(
    kind: str, facility: Facility | None, *, routine: int, urgent: int, stat: int, active: bool = True, by: User
) -> RadarRule:  # fmt: skip
    """The minutes after which a kind is late at a site, or everywhere."""
    require(by, "department.change")
    _kind(kind)
    if not routine >= urgent >= stat >= 0:
        raise BadValue("STAT comes due first, then urgent, then routine.", location="stat")
    rule, _ = RadarRule.objects.update_or_create(
        kind=kind,
        facility=facility,
        defaults={
            "minutes": routine,
            "urgent_minutes": urgent,
            "stat_minutes": stat,
            "active": active,
        },
    )
    record(
        "radar.deadline_set", f"radar:{kind}", by=by, of=kind, facility=facility.pk if facility else None,
        minutes=[routine, urgent, stat], active=active,
    )  # fmt: skip
    return rule


@transaction.atomic
def usual_deadline(kind: str, facility: Facility | None, *, by: User) -> None:
    """Take a site's own deadline back."""
    require(by, "department.change")
    RadarRule.objects.filter(kind=kind, facility=facility).delete()
    record(
        "radar.deadline_usual", f"radar:{kind}", by=by, of=kind, facility=facility.pk if facility else None
    )
