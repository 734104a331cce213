"""The demo department of contract.md, Seeds: the bare one, alive today with invented people.

Three phases, each one transaction that ends with a fact saying it is done: an interrupted seed goes on where
it stopped. Within a phase the number decides everything but the moment, which is now.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from django.core.management import call_command
from django.db import transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.db.models import F
from django.utils import timezone

from billing.models import Fee
from ris.accounts.models import User
from ris.department.models import Facility, Practitioner, ProcedureType, Room
from ris.desk.seeds.bare import FACILITY
from ris.desk.seeds.notes import write_notes
from ris.desk.seeds.people import REFERRERS, STAFF, invent_people
from ris.desk.seeds.plan import Planner
from ris.desk.seeds.protocols import invent_protocols
from ris.desk.seeds.safety import invent_safety
from ris.desk.seeds.stuck import leave_stuck
from ris.desk.seeds.supplies import invent_supplies
from ris.desk.seeds.writing import EMERGENCY_PHONE, Writer
from ris.events.models import Event
from ris.events.outbox import record
from ris.patients.actions import NewIdentifier, search_text
from ris.patients.models import Patient, PatientIdentifier
from scheduling.models import Block
from scheduling.slots import Span

Say = Callable[[str], None]
PATIENTS = 3000
_DONE = "demo.seeded"


def seed_demo(number: int, say: Say, *, patients: int = PATIENTS, now: datetime | None = None) -> None:
    """Run the phases that are still to do."""
    moment = now or timezone.now()
    if not _is_done("people") and Patient.objects.exists():
        say("There are patients here already; the invented ones stay out.")
        return
    phases: dict[str, Callable[[Random], str]] = {
        "people": lambda rng: _people(rng, moment, patients),
        "work": lambda rng: _work(rng, moment),
        "safety": lambda rng: invent_safety(rng, moment),
        "messages": lambda rng: _messages(number),
    }
    for phase, fill in phases.items():
        if _is_done(phase):
            continue
        begun = time.monotonic()
        with transaction.atomic():
            told = fill(Random(f"{number} {phase}"))
            record(_DONE, _subject(phase), by=User.objects.get(username="admin"), number=number)
        say(f"{told} ({time.monotonic() - begun:.1f} s)")


def _subject(phase: str) -> str:
    return f"demo:{phase}"


def _is_done(phase: str) -> bool:
    return Event.objects.filter(subject=_subject(phase), kind=_DONE).exists()


def _people(rng: Random, now: datetime, count: int) -> str:
    """Staff who cannot sign in, referrers, patients with numbers of nine digits."""
    users = {}
    for username, given, family, role, title in STAFF:
        user = User.objects.create(
            username=username, first_name=given, last_name=family, roles=[role], password="!"
        )
        users[username] = (user, title)
    doctors = [
        Practitioner(
            identifier=str(1101 + place),
            authority=FACILITY,
            family=user.last_name,
            given=user.first_name,
            prefix=title,
            user=user,
        )
        for place, (user, title) in enumerate(users.values())
        if title
    ]
    doctors += [
        Practitioner(
            identifier=str(2001 + place),
            authority=FACILITY,
            family=family,
            given=given,
            prefix="Dr",
            phone=EMERGENCY_PHONE if where == "Emergency" else f"555 {200 + place:04d}",
        )
        for place, (given, family, where) in enumerate(REFERRERS)
    ]
    Practitioner.objects.bulk_create(doctors)
    invented = invent_people(rng, count, on=now.date())
    numbers = [f"{number:09d}" for number in rng.sample(range(1_000_000, 9_000_000), count)]
    patients = []
    for one, number in zip(invented, numbers, strict=True):
        patient = Patient(
            **vars(one.name),
            sex=one.sex,
            birth_date=one.birth_date,
            updated_at=now - timedelta(days=rng.randrange(2, 900)),
            restricted=rng.random() < 0.003,
            **one.details,
        )
        patient.search = search_text(patient, (NewIdentifier(number, FACILITY),))
        patients.append(patient)
    Patient.objects.bulk_create(patients, batch_size=1000)
    Patient.objects.update(registered_at=F("updated_at"))
    PatientIdentifier.objects.bulk_create(
        [
            PatientIdentifier(patient=patient, value=number, authority=FACILITY, primary=True)
            for patient, number in zip(patients, numbers, strict=True)
        ],
        batch_size=1000,
    )
    return f"{count:,} patients, {len(doctors)} doctors"


def _work(rng: Random, now: datetime) -> str:
    """A schedule from last week to four weeks ahead, and all that has come of it until now."""
    facility = Facility.objects.get(code=FACILITY)
    zone = ZoneInfo(facility.timezone)
    rooms = list(
        Room.objects.filter(facility=facility, active=True)
        .select_related("facility")
        .prefetch_related("openings")
    )
    # Two exams lost their fee: their charges are held and say so.
    Fee.objects.filter(code__in=("MR-IACC-P", "US-SOFT-T")).delete()
    planner = Planner(
        rng,
        now,
        zone=zone,
        rooms=rooms,
        exams=list(ProcedureType.objects.filter(active=True)),
        patients=list(Patient.objects.prefetch_related("identifiers").order_by("pk")),
        blocks=_blocks(rooms, now.astimezone(zone)),
    )
    counts = Writer(rng, now, facility).write(planner.cases())
    counts["notes"] = write_notes(rng, now)
    made = [f"{count:,} {noun}" for noun, count in counts.items()]
    made.append(leave_stuck(rng, now))
    return ", ".join([*made, invent_protocols(rng, now), invent_supplies(rng, now)])


def _blocks(rooms: list[Room], now: datetime) -> dict[int, list[Span]]:
    """Service and breaks of the days around today."""
    made: dict[int, list[Span]] = defaultdict(list)
    morning = now.replace(hour=0, minute=0, second=0, microsecond=0)
    by_code = {room.code: room for room in rooms}
    for code, days, begins, ends, reason in (
        ("MR1", 1, "12:00", "13:00", "Service: helium"),
        ("CT2", 0, "12:30", "13:15", "Break"),
        ("CT2", 1, "12:30", "13:15", "Break"),
        ("XR1", 2, "07:00", "08:00", "Detector calibration"),
        ("MG1", 3, "15:00", "16:30", "Biopsy"),
        ("US1", 4, "08:00", "09:30", "Teaching"),
    ):
        day = morning + timedelta(days=days)
        start, end = (day.replace(hour=int(at[:2]), minute=int(at[3:])) for at in (begins, ends))
        room = by_code[code]
        Block.objects.create(room=room, during=DateTimeTZRange(start, end), reason=reason)
        made[room.pk].append((start, end))
    return made


def _messages(number: int) -> str:
    """Partners and their messages. A command, since the desk and the interfaces do not know each other."""
    call_command("seed_messages", number=number, verbosity=0)
    return "messages in and out"
