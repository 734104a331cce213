"""The segments that our messages share: MSH, PID, PV1, and the data types in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.conf import settings

from interfaces.hl7 import charsets, codemaps, codes, er7, profile, times
from interfaces.hl7.er7 import Raw, Value
from interfaces.models import CodeTable, Endpoint
from ris.accounts.models import User
from ris.core.names import PersonName
from ris.department.models import Practitioner
from ris.orders.models import Order, RequestedProcedure
from ris.patients.models import Patient, PatientClass, Visit
from scheduling.models import Appointment


@dataclass(frozen=True, slots=True)
class Writer:
    """For whom, under which control id, and as of when a message is written."""

    endpoint: Endpoint
    control_id: str
    #: When the fact became true: ORC-9, EVN-2.
    at: datetime
    #: For a kind of message that goes out in another version than the partner's others.
    version_here: str = ""

    @property
    def version(self) -> str:
        return self.version_here or self.endpoint.hl7_version

    @property
    def modern(self) -> bool:
        """2.5 and later: offsets in times, authorities with names."""
        return self.version >= "2.5"

    def option(self, key: str) -> str:
        return profile.option(self.endpoint.profile, key)

    def time(self, moment: datetime | None) -> str:
        if moment is None:
            return ""
        zone = ZoneInfo(self.endpoint.option("timezone") or settings.RIS_FACILITY_TZ)
        return times.write(moment, zone, offset=self.modern)

    def message(self, kind: tuple[str, str, str], segments: list[str]) -> bytes:
        """MSH and the rest as bytes; MSH-18 only when other than ASCII letters are in them (MLLP-14)."""
        endpoint = self.endpoint
        body = "".join(line + "\r" for line in segments)
        accept, application = _CONDITIONS.get(self.option("acks"), ("", ""))
        msh = er7.header(
            {
                3: endpoint.sending_application or "LIGHTBOX",
                4: endpoint.sending_facility or "LIGHTBOX",
                5: endpoint.receiving_application,
                6: endpoint.receiving_facility,
                7: self.time(self.at),
                # The structure is named from 2.4 on; receivers of 2.3.1 compare the whole field.
                9: kind if self.version >= "2.4" else kind[:2],
                10: self.control_id,
                11: "P",
                12: self.version,
                15: accept,
                16: application,
            }
        )
        declared, codec, text = charsets.choose(
            f"{msh}\r{body}", endpoint.encoding, transliterate=self.option("unfit") == "transliterate"
        )
        if declared:
            msh, _, body = text.partition("\r")
            text = f"{msh}{'|' * (17 - msh.count('|'))}{declared}\r{body}"
        return text.encode(codec)


#: MSH-15 and MSH-16 by the profile's `acks`.
_CONDITIONS = {"enhanced": ("AL", "AL"), "errors": ("AL", "ER"), "commit": ("AL", "NE")}


def xpn(name: PersonName) -> Raw:
    """Legal name; then the ideographic and phonetic forms as repetitions of their own (XPN.8 I, P)."""
    several = "L" if name.ideographic or name.phonetic else ""
    names: list[Value] = [[name.family, name.given, name.middle, name.suffix, name.prefix, "", several]]
    for group, form in ((name.ideographic, "I"), (name.phonetic, "P")):
        if group:
            family, given, middle, prefix, suffix = [*group.split("^"), "", "", "", ""][:5]
            names.append([family, given, middle, suffix, prefix, "", "L", form])
    return er7.repeat(names)


def xcn(person: Practitioner | None, writer: Writer) -> Value:
    """The person as they were named to us; with the assigning authority from 2.5 on (IHE 2.3.1 sends none)."""
    if person is None:
        return ""
    identifier = codemaps.theirs(writer.endpoint, CodeTable.PROVIDER, person.identifier)
    name = [identifier, person.family, person.given, person.middle, person.suffix, person.prefix]
    return [*name, "", "", person.authority] if writer.modern else name


def xcn_of(user: User | None, writer: Writer) -> Value:
    """A user as the practitioner they are, or by their user name."""
    if user is None or user.is_system:
        return ""
    practitioner = getattr(user, "practitioner", None)
    if practitioner is not None:
        return xcn(practitioner, writer)
    return [user.username, user.last_name, user.first_name]


def ndl_of(user: User | None, writer: Writer) -> Value:
    """NDL: the name in subcomponents of the first component (2.5.1 2.A.47)."""
    name = xcn_of(user, writer)
    return [[part if isinstance(part, str) else part[0] for part in name]] if name else ""


def performer(appointment: Appointment | None, writer: Writer) -> Value:
    """OBR-34 before the exam: whoever is planned to perform it, as NDL (2.5.1 2.A.47)."""
    name = xcn(appointment.performer if appointment else None, writer)
    return [[part if isinstance(part, str) else part[0] for part in name]] if name else ""


def pid(patient: Patient, visit: Visit | None, writer: Writer) -> str:
    numbers = sorted(patient.identifiers.all(), key=lambda one: (not one.primary, one.pk))
    return er7.segment(
        "PID",
        {
            3: er7.repeat([[one.value, "", "", one.authority, one.type] for one in numbers]),
            5: xpn(patient.name),
            7: patient.birth_date.replace("-", ""),
            8: codemaps.theirs(writer.endpoint, CodeTable.SEX, patient.sex),
            11: patient.address,
            13: er7.repeat(_telephones(patient)),
            15: patient.language,
            18: visit.account if visit else "",
        },
    )


def _telephones(patient: Patient) -> list[Value]:
    found: list[Value] = []
    if patient.phone:
        found.append([patient.phone, "PRN", "PH"])
    if patient.mobile:
        found.append([patient.mobile, "PRN", "CP"])
    if patient.email:
        found.append(["", "NET", "Internet", patient.email])
    return found


def pv1(visit: Visit | None, writer: Writer) -> str:
    """PV1-2 is required: who comes without a visit of the hospital comes as an outpatient."""
    if visit is None:
        return er7.segment("PV1", {2: PatientClass.OUTPATIENT.value})
    return er7.segment(
        "PV1",
        {
            2: codemaps.theirs(writer.endpoint, CodeTable.PATIENT_CLASS, visit.patient_class),
            3: visit.location.split("^"),
            7: xcn(visit.attending, writer),
            8: xcn(visit.referring, writer),
            10: visit.service,
            15: visit.pregnancy,
            17: xcn(visit.admitting, writer),
            18: visit.patient_type,
            19: [visit.number, "", "", visit.authority],
            20: visit.financial_class,
            44: writer.time(visit.admitted_at),
            45: writer.time(visit.discharged_at),
            51: "V",
        },
    )


def placer(order: Order) -> Value:
    """ORC-2 with its namespace exactly as it came (FIL-10)."""
    if not order.placer_order_number:
        return ""
    return [order.placer_order_number, *(order.placer_authority.split("^") if order.placer_authority else [])]


def filler(order: Order, writer: Writer) -> Value:
    return [order.accession_number, writer.endpoint.sending_application or "LIGHTBOX"]


def ordered(procedure: RequestedProcedure, writer: Writer) -> list[str]:
    """The code of the exam as the placer wrote it; our own code in the partner's word for it."""
    kind, code = procedure.procedure_type, procedure.code
    if kind is not None and kind.code == code:
        code = codemaps.theirs(writer.endpoint, CodeTable.EXAM, code)
    return [code, procedure.code_text, procedure.code_scheme]


def priority(order: Order, writer: Writer) -> str:
    """ORC-7.6, TQ1-9: the partner's word for our urgency or for HL7's code of it."""
    mapped = codemaps.theirs(writer.endpoint, CodeTable.PRIORITY, order.priority)
    if mapped != order.priority:
        return mapped
    return codemaps.theirs(writer.endpoint, CodeTable.PRIORITY, codes.priority_code(order.priority))


def modality(value: str, writer: Writer) -> str:
    """OBR-24, IPC-5: the DICOM modality, unless the partner knows it by another word (FIX-9)."""
    return codemaps.theirs(writer.endpoint, CodeTable.MODALITY, codes.modality_code(value))


def status(code: str, writer: Writer) -> str:
    """ORC-5."""
    return codemaps.theirs(writer.endpoint, CodeTable.STATUS, code)


def reason(order: Order) -> Value | Raw:
    """OBR-31: the reason in words, then the diagnoses with their codes."""
    coded = [[one["code"], one["text"], one["scheme"]] for one in order.diagnoses if one["code"]]
    told = {one["text"] for one in order.diagnoses}
    words = [["", order.reason]] if order.reason and order.reason not in told else []
    return er7.repeat([*words, *coded]) if words or coded else ""


def common_order(order: Order, writer: Writer, fields: Mapping[int, Value | Raw]) -> str:
    """ORC. What the fact says comes in `fields`; the rest is the order's own."""
    return er7.segment(
        "ORC",
        {
            2: placer(order),
            3: filler(order, writer),
            4: order.placer_group_number.split("^"),
            9: writer.time(writer.at),
            10: xcn_of(order.entered_by, writer),
            12: xcn(order.ordering, writer),
            14: order.callback_phone,
            17: order.entered_at_organization.split("^")
            if order.entered_at_organization
            else [
                codemaps.theirs(writer.endpoint, CodeTable.DEPARTMENT, order.facility.code),
                order.facility.name,
                "L",
            ],
            **fields,
        },
    )
