"""HL7's codes and our words, both directions."""

from interfaces.hl7.ack import NotInTable
from ris.department.models import Modality
from ris.orders.models import Side
from ris.orders.states import Priority
from ris.patients.models import PatientClass, Sex

#: ORC-7.6, OBR-27.6, TQ1-9: tables 0027 and 0485, and what senders write instead.
_PRIORITIES = {
    "": Priority.ROUTINE,
    "S": Priority.STAT,
    "STAT": Priority.STAT,
    "E": Priority.STAT,
    "A": Priority.ASAP,
    "ASAP": Priority.ASAP,
    "U": Priority.ASAP,
    "URGENT": Priority.ASAP,
    "R": Priority.ROUTINE,
    "ROUTINE": Priority.ROUTINE,
    "N": Priority.ROUTINE,
    "PRN": Priority.ROUTINE,
    "P": Priority.PREOP,
    "C": Priority.CALLBACK,
    "T": Priority.TIMED,
}
_PRIORITY_CODES = {
    Priority.STAT: "S",
    Priority.ASAP: "A",
    Priority.PREOP: "P",
    Priority.CALLBACK: "C",
    Priority.TIMED: "T",
    Priority.ROUTINE: "R",
}

_SEXES = {"MALE": Sex.MALE, "FEMALE": Sex.FEMALE, "OTHER": Sex.OTHER, "UNKNOWN": Sex.UNKNOWN}

_SIDES = {
    "L": Side.LEFT, "LT": Side.LEFT, "LEFT": Side.LEFT,
    "R": Side.RIGHT, "RT": Side.RIGHT, "RIGHT": Side.RIGHT,
    "B": Side.BOTH, "BI": Side.BOTH, "BIL": Side.BOTH, "BILATERAL": Side.BOTH, "50": Side.BOTH,
}  # fmt: skip


def priority(code: str, *, location: str) -> Priority:
    """Raises NotInTable: an urgency that is not understood must not become routine."""
    known = _PRIORITIES.get(code.strip().upper())
    if known is None and code in Priority.values:
        known = Priority(code)
    if known is None:
        raise NotInTable("This priority is not in table 0485 (S, A, R, P, C, T).", location=location)
    return known


def priority_code(value: str) -> str:
    return _PRIORITY_CODES[Priority(value)]


def sex(code: str) -> str:
    """Table 0001; raises NotInTable."""
    upper = code.strip().upper()
    if upper in Sex.values:
        return upper
    if upper in _SEXES:
        return _SEXES[upper]
    raise NotInTable("This sex is not in table 0001 (F, M, O, U, A, N).", location="PID-8")


def patient_class(code: str) -> str:
    """Table 0004. A site's own class is "unknown", not a reason to refuse a patient."""
    upper = code.strip().upper()
    return upper if upper in PatientClass.values else PatientClass.UNKNOWN


def side(*values: str) -> Side:
    """The first of `values` that names a side."""
    for value in values:
        if value.strip().upper() in _SIDES:
            return _SIDES[value.strip().upper()]
    return Side.NONE


#: Table 0074 where it is not the DICOM modality.
_MODALITIES = {
    "NMR": Modality.MR, "RUS": Modality.US, "VUS": Modality.US, "OUS": Modality.US, "NMS": Modality.NM,
    "RX": Modality.XR, "XR": Modality.XR, "RAD": Modality.XR, "CTH": Modality.CT,
}  # fmt: skip


def modality(code: str) -> str:
    """DICOM's word for a modality of table 0074; what neither knows is kept."""
    upper = code.strip().upper()
    return str(_MODALITIES.get(upper, upper))


def modality_code(value: str) -> str:
    """OBR-24 as IHE has it: the DICOM modality, not table 0074 (RAD TF-2 4.4)."""
    return Modality(value).value if value in Modality.values else value
