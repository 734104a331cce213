"""The bare department of contract.md, Seeds: rooms, machines, hours, catalogue, fees, people; no patients."""

import csv
from collections.abc import Iterator
from datetime import time
from decimal import Decimal
from importlib.resources import files
from io import StringIO

from django.core.management import call_command
from django.db import transaction

from billing.models import Fee
from ris.accounts.models import Role, User
from ris.department.actions import import_catalogue, save_record
from ris.department.models import Facility, Modality, Practitioner, Room, Station
from ris.desk.seeds.protocols import add_protocols
from ris.desk.seeds.supplies import add_items
from ris.reporting.templates_data import add_default_templates
from ris.safety.catalogue import add_default_questionnaires
from scheduling.models import Opening

FACILITY = "HARBOUR"

#: Username, given and family name, role, title with which they appear in messages (none: not a practitioner).
PEOPLE = (
    ("frontdesk", "Frances", "Osei", Role.FRONTDESK, None),
    ("tech", "Tomas", "Keller", Role.TECHNOLOGIST, None),
    ("radiologist", "Ruth", "Alvarez", Role.RADIOLOGIST, "Dr"),
    ("resident", "Rohan", "Iyer", Role.RESIDENT, "Dr"),
    ("biller", "Bianca", "Moretti", Role.BILLER, None),
    ("manager", "Marion", "Boyd", Role.MANAGER, None),
    ("admin", "Adam", "Nowak", Role.ADMINISTRATOR, None),
    ("referrer", "Maja", "Lindgren", Role.REFERRER, "Dr"),
)

#: Code, modality, where.
ROOMS = (
    ("CT1", Modality.CT, "Bay A"),
    ("CT2", Modality.CT, "Bay B"),
    ("MR1", Modality.MR, "Bay C"),
    ("US1", Modality.US, "Room 4"),
    ("XR1", Modality.XR, "Room 5"),
    ("MG1", Modality.MG, "Room 6"),
)

#: Weekdays, from, until; Monday is 0.
HOURS = ((range(5), time(7), time(19)), (range(5, 6), time(8), time(12)))


def is_seeded() -> bool:
    return Facility.objects.filter(code=FACILITY).exists()


@transaction.atomic
def seed_bare(password: str) -> None:
    """Make the department, all of it or nothing."""
    people = dict(make_people(password))
    admin = people["admin"]
    facility = Facility(
        code=FACILITY,
        name="Harbour Imaging",
        timezone="America/New_York",
        phone="555 0100",
        address="2 Quay Road, Harbour Town",
        assigning_authority=FACILITY,
    )
    save_record(facility, by=admin)
    for position, (code, modality, detail) in enumerate(ROOMS):
        room = Room(
            facility=facility, code=code, name=f"{code[:2]} {code[2:]}", modality=modality, detail=detail,
            position=position,
        )  # fmt: skip
        save_record(room, by=admin)
        save_record(Station(room=room, ae_title=code, name=code, modality=modality), by=admin)
        Opening.objects.bulk_create(
            Opening(room=room, weekday=weekday, opens=opens, closes=closes)
            for weekdays, opens, closes in HOURS
            for weekday in weekdays
        )
    for number, (username, given, family, _, title) in enumerate(PEOPLE, start=1001):
        if title:
            doctor = Practitioner(
                identifier=str(number), authority=FACILITY, family=family, given=given, prefix=title,
                user=people[username],
            )  # fmt: skip
            save_record(doctor, by=admin)
    import_catalogue(data("catalogue.csv"), by=admin)
    Fee.objects.bulk_create(
        Fee(code=row["code"], name=row["name"], amount=Decimal(row["amount"]), currency=row["currency"])
        for row in csv.DictReader(data("fees.csv").splitlines())
    )
    add_default_templates(by=admin)
    add_default_questionnaires(by=admin)
    add_protocols(by=admin)
    add_items(by=admin)
    # Whoever sends orders is welcome, whatever MSH-3 and MSH-4 say. A command, since the desk and the
    # interfaces do not know each other.
    call_command("endpoint", "EMR", protocol="mllp", direction="in", match="|", stdout=StringIO())


def make_people(password: str) -> Iterator[tuple[str, User]]:
    for username, given, family, role, _ in PEOPLE:
        yield (
            username,
            User.objects.create_user(
                username, password=password, first_name=given, last_name=family, roles=[role]
            ),
        )


def data(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
