"""ADT out: what changed of a patient, for those who file images and reports under them (RAD-12; HL7 2.5.1 3.3)."""

from interfaces.hl7 import er7
from interfaces.hl7.er7 import Raw
from interfaces.hl7.outbound import parts
from interfaces.hl7.outbound.parts import Writer
from ris.patients.models import Patient, Visit

#: The abstract structure of each event (HL7 2.5.1 table 0354).
_STRUCTURES = {
    "A02": "ADT_A02", "A03": "ADT_A03", "A06": "ADT_A06", "A07": "ADT_A06", "A08": "ADT_A01", "A11": "ADT_A09",
    "A12": "ADT_A12", "A13": "ADT_A01", "A31": "ADT_A05", "A38": "ADT_A38", "A40": "ADT_A39",
}  # fmt: skip


def patient_message(trigger: str, patient: Patient, visit: Visit | None, writer: Writer) -> bytes:
    """A08, A31 and what happens to a visit. A31 speaks of nobody's visit, so its PV1 is of class N."""
    segments = [_evn(trigger, writer), parts.pid(patient, visit, writer)]
    if visit is None:
        segments.append(er7.segment("PV1", {2: "N"}))
    else:
        segments.append(parts.pv1(visit, writer))
    return _message(trigger, segments, writer)


def merge_message(survivor: Patient, retired: Patient, visit: Visit | None, writer: Writer) -> bytes:
    """A40: PID stays, MRG goes (PIR-01). PID-18 is the account of the survivor's newest visit."""
    numbers = sorted(retired.identifiers.all(), key=lambda one: (not one.primary, one.pk))
    first = numbers[0]
    mrg: dict[int, er7.Value | Raw] = {
        1: er7.repeat([[one.value, "", "", one.authority, one.type] for one in numbers]),
        7: parts.xpn(retired.name),
    }
    if not writer.modern:
        mrg[4] = [first.value, "", "", first.authority]  # Prior Patient ID, kept for old receivers until 2.5
    segments = [_evn("A40", writer), parts.pid(survivor, visit, writer), er7.segment("MRG", mrg)]
    return _message("A40", segments, writer)


def _evn(trigger: str, writer: Writer) -> str:
    moment = writer.time(writer.at)
    return er7.segment("EVN", {1: trigger, 2: moment, 6: moment})


def _message(trigger: str, segments: list[str], writer: Writer) -> bytes:
    return writer.message(("ADT", trigger, _STRUCTURES[trigger]), segments)
