"""Plain functions that make what a test needs: valid by default, one keyword a difference, through the verbs."""

from datetime import datetime, timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import timezone

from ris.core.names import PersonName
from ris.department.actions import search_text
from ris.department.models import Facility, Modality, Practitioner, ProcedureType, Room, Station
from ris.exams import actions as exams
from ris.exams.models import Exam
from ris.orders.actions import NewOrder, place_order
from ris.orders.models import Order
from ris.patients.actions import NewIdentifier, NewPatient, register_patient
from ris.patients.models import Patient
from ris.protocolling.actions import want_protocols
from ris.protocolling.models import ExamRule, Protocol, ProtocolRequest
from ris.reporting import actions as reporting
from ris.reporting.models import Report
from ris.safety.actions import note_fact
from ris.safety.models import Statement
from ris.supplies.models import Item
from scheduling import actions as scheduling
from scheduling.models import Appointment, Opening
from tests.cast import person

_numbers = count(1)
AUTHORITY = "HARBOUR"
GTIN = "09501101530003"


def make_facility(**fields: Any) -> Facility:
    values = {"name": "Harbour Imaging", "timezone": "America/New_York", "assigning_authority": AUTHORITY}
    facility, _ = Facility.objects.get_or_create(
        code=fields.pop("code", "HARBOUR"), defaults={**values, **fields}
    )
    return facility


def make_room(code: str = "CT1", modality: str = Modality.CT, **fields: Any) -> Room:
    """A room open every day around the clock, with one station whose AE title is its code."""
    room, created = Room.objects.get_or_create(
        facility=fields.pop("facility", None) or make_facility(),
        code=code,
        defaults={"name": f"{code[:-1]} {code[-1]}", "modality": modality, **fields},
    )
    if created:
        for weekday in range(7):
            Opening.objects.create(room=room, weekday=weekday, opens="00:00", closes="23:59:59")
        Station.objects.create(room=room, ae_title=code, name=code, modality=modality)
    return room


def make_procedure_type(code: str = "CTHEAD", **fields: Any) -> ProcedureType:
    values = {
        "name": "CT head", "modality": Modality.CT, "body_part": "Head", "duration_minutes": 30,
        "technical_code": "CT-T", "professional_code": "CT-P",
    }  # fmt: skip
    kind, created = ProcedureType.objects.get_or_create(code=code, defaults={**values, **fields})
    if created:
        kind.search = search_text(kind)
        kind.save(update_fields=["search"])
    return kind


def make_practitioner(family: str = "Lindgren", **fields: Any) -> Practitioner:
    values = {"authority": AUTHORITY, "family": family, "given": "Maja", "prefix": "Dr", **fields}
    found, _ = Practitioner.objects.get_or_create(
        identifier=values.pop("identifier", family.upper()), defaults=values
    )
    return found


def make_patient(family: str = "Okafor", given: str = "Adaeze", mrn: str = "", **fields: Any) -> Patient:
    make_facility()
    name = PersonName(family, given, *[fields.pop(key, "") for key in
                      ("middle", "prefix", "suffix", "ideographic", "phonetic")])  # fmt: skip
    return register_patient(
        NewPatient(
            name=name,
            identifiers=(NewIdentifier(mrn or f"{next(_numbers):09d}", AUTHORITY),),
            birth_date=fields.pop("birth_date", "1968-07-14"),
            sex=fields.pop("sex", "F"),
            details=fields,
        ),
        by=person("clara"),
    )


def make_order(patient: Patient | None = None, **fields: Any) -> Order:
    by = fields.pop("by", None) or person("clara")
    kind = fields.pop("procedure_type", None) or (None if "code" in fields else make_procedure_type())
    return place_order(
        NewOrder(
            patient=patient or make_patient(),
            facility=fields.pop("facility", None) or make_facility(),
            procedure_type=kind,
            reason=fields.pop("reason", "Right upper quadrant pain"),
            ordering=fields.pop("ordering", None) or make_practitioner(),
            **fields,
        ),
        by=by,
    )


def make_item(gtin: str = GTIN, **fields: Any) -> Item:
    """A vial of 100 mL contrast agent, whose label carries `gtin`."""
    values = {"kind": "contrast", "name": "Iohexol", "strength": "350 mg I/mL", "volume_ml": 100, **fields}
    item, _ = Item.objects.get_or_create(gtin=gtin, defaults=values)
    item.refresh_from_db()
    return item


def make_protocol(name: str = "Head plain", exam: ProcedureType | None = None, **fields: Any) -> Protocol:
    """A protocol of one exam; `default` makes the exam need a protocol and this one its default."""
    kind = exam or make_procedure_type()
    default = fields.pop("default", False)
    code = fields.pop("code", name.upper().replace(" ", "-")[:16])
    protocol = Protocol.objects.create(code=code, name=name, modality=kind.modality, **fields)
    protocol.exams.add(kind)
    rule, _ = ExamRule.objects.get_or_create(procedure_type=kind)
    if default:
        rule.default = protocol
        rule.save(update_fields=["default"])
    return protocol


def make_protocol_request(order: Order | None = None, **fields: Any) -> ProtocolRequest:
    """An order whose exam waits for a protocol."""
    order = order or make_order(**fields)
    for procedure in order.procedures.all():
        ExamRule.objects.get_or_create(procedure_type=procedure.procedure_type)
    (request,) = want_protocols(order, by=person("mona"))
    return request


def next_hour(hours: int = 1) -> datetime:
    """The full hour `hours` from now, in the facility's zone."""
    now = timezone.now().astimezone(ZoneInfo("America/New_York"))
    return now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=hours)


def make_appointment(
    order: Order | None = None, room: Room | None = None, start: datetime | None = None, **fields: Any
) -> Appointment:
    by = fields.pop("by", None) or person("mona")
    return scheduling.book(
        order or make_order(**fields), room=room or make_room(), start=start or next_hour(), by=by
    )


def make_exam(order: Order | None = None, *, completed: bool = False, **fields: Any) -> Exam:
    """A started exam; `completed` ends it too."""
    make_room()
    order = order or make_order(**fields)
    if order.patient.birth_date > "1969":  # young enough to be asked before radiation
        note_fact(Statement(patient=order.patient, kind="pregnancy", value="not"), by=person("theo"))
    (exam,) = exams.start_exam(order, by=person("theo"), room=None)
    return exams.complete_exam(exam, by=person("theo")) if completed else exam


def make_report(
    exam: Exam | None = None, *, signed: bool = False, impression: str = "No acute finding."
) -> Report:
    """A report opened by Rita with findings and an impression; `signed` signs it."""
    rita = person("rita")
    report = reporting.open_report(exam or make_exam(completed=True), by=rita)
    wording = [
        {**one, "text": {"59776-5": "Normal.", "19005-8": impression}.get(one["code"], one["text"])}
        for one in report.draft.sections
    ]
    draft = reporting.save_draft(report, wording, version=report.draft.version, by=rita)  # type: ignore[arg-type]
    if signed:
        reporting.sign_report(report, version=draft.version, by=rita)
    report.refresh_from_db()
    return report
