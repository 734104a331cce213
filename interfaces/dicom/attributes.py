"""The worklist's attributes (PS3.4 table K.6-1): where each value comes from, and how its key matches.

The worklist is a query over the live rows. An attribute is an SQL expression over the tables below; a query
joins those that its keys and return keys need.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Any

from ris.orders.states import OrderStatus, Priority
from ris.protocolling.states import DECIDED
from ris.safety.models import Agent, MrCondition, Severity, Statement
from scheduling.states import LIVE, ON_WORKLIST, SHOWABLE


class Match(Enum):
    """How a key that is not universal restricts the answer (PS3.4 C.2.2.2)."""

    #: No matching: a value in the request is ignored and answered with FF01.
    NONE = 0
    #: Exact and case-sensitive; several values: any of them.
    SINGLE = 1
    #: The same, with `*` and `?`.
    WILDCARD = 2
    #: The stored array holds one of the values.
    ANY_OF_MANY = 3
    #: Person names: wildcards, any case, any component group.
    NAME = 4
    UID_LIST = 5
    #: A date kept as YYYY-MM-DD text; single or range.
    DATE = 6
    #: The start of the step, matched as one point in time where date and time are both given.
    START_DATE = 7
    START_TIME = 8
    #: Keys in the single item of a sequence.
    ITEM = 9


@dataclass(frozen=True)
class Attribute:
    vr: str
    #: A text. Empty: known, but the record holds nothing for it; returned with zero length.
    sql: str = ""
    tables: tuple[str, ...] = ()
    match: Match = Match.NONE
    #: What a key is compared with, where that is not what is returned; and what stands around the comparison.
    key: str = ""
    within: str = ""
    #: The value is several, parted by backslashes.
    many: bool = False
    #: Attributes of a sequence's item.
    item: Mapping[int, "Attribute"] = field(default_factory=dict)


STEP_SEQUENCE = 0x00400100

#: Scheduled Procedure Step Status (0040,0020) of what is shown unless a station says otherwise.
SHOWN = tuple(status.upper() for status in ON_WORKLIST)


def _listed(statuses: Iterable[str]) -> str:
    return ", ".join(f"'{status}'" for status in statuses)


_LIVE_ORDER = _listed((OrderStatus.REQUESTED, OrderStatus.SCHEDULED, OrderStatus.IN_PROGRESS))

#: Scheduled procedure steps still to be done, of orders and appointments that stand.
FROM = """
FROM scheduling_scheduledprocedurestep step
JOIN scheduling_appointment appointment ON appointment.id = step.appointment_id
JOIN orders_requestedprocedure requested ON requested.id = step.procedure_id
JOIN orders_order ordered ON ordered.id = requested.order_id
JOIN patients_patient patient ON patient.id = ordered.patient_id
JOIN department_facility facility ON facility.id = ordered.facility_id
"""


@lru_cache
def visible(shown: tuple[str, ...]) -> str:
    """The condition for steps of these statuses whose order and appointment stand."""
    steps = [status for status in SHOWABLE if status.upper() in shown]
    if not steps:
        return "FALSE"
    return (
        f"step.status IN ({_listed(steps)}) AND ordered.status IN ({_LIVE_ORDER})"
        f" AND appointment.status IN ({_listed(LIVE)})"
    )


#: Joined when an attribute names them; later ones may build on earlier ones.
TABLES = {
    "number": "LEFT JOIN patients_patientidentifier number ON number.patient_id = patient.id AND number.primary",
    "exam": "LEFT JOIN department_proceduretype exam ON exam.id = requested.procedure_type_id",
    "orderer": "LEFT JOIN department_practitioner orderer ON orderer.id = ordered.ordering_id",
    "visit": "LEFT JOIN patients_visit visit ON visit.id = ordered.visit_id",
    "referrer": "LEFT JOIN department_practitioner referrer ON referrer.id = visit.referring_id",
    "performer": "LEFT JOIN department_practitioner performer ON performer.id = appointment.performer_id",
    # What a radiologist or a rule decided; an exam that waits for it shows what was planned without.
    "decision": "LEFT JOIN protocolling_protocolrequest decision ON decision.procedure_id = requested.id"
    f" AND decision.status IN ({_listed(DECIDED)})",
    "protocol": "LEFT JOIN protocolling_protocol protocol ON protocol.id = decision.protocol_id",
    "room": "JOIN department_room room ON room.id = appointment.room_id",
}

#: Date and time of a step are those of the wall clock of its facility.
LOCAL_START = "(step.starts_at AT TIME ZONE facility.timezone)"
_LOCAL_END = "(upper(appointment.during) AT TIME ZONE facility.timezone)"


def _cases(column: str, words: Mapping[Any, str]) -> str:
    cases = " ".join(f"WHEN '{ours}' THEN '{theirs}'" for ours, theirs in words.items())
    return f"CASE {column} {cases} ELSE '' END"


#: Requested Procedure Priority (0040,1003), defined terms.
_PRIORITY = _cases(
    "ordered.priority",
    {
        Priority.STAT: "STAT",
        Priority.ASAP: "HIGH",
        Priority.PREOP: "HIGH",
        Priority.CALLBACK: "HIGH",
        Priority.TIMED: "MEDIUM",
        Priority.ROUTINE: "ROUTINE",
    },
)
_URGENCY_ORDER = {priority: str(place) for place, priority in enumerate(Priority)}
#: Among steps of the same minute the urgent ones come first.
URGENCY = _cases("ordered.priority", _URGENCY_ORDER)
_STATUS = _cases("step.status", {status: status.upper() for status in SHOWABLE})
# DICOM knows three; of ambiguous and not applicable "other" is the nearest.
_SEX = _cases("patient.sex", {"M": "M", "F": "F", "O": "O", "A": "O", "N": "O"})
#: Table 0124, in words a technologist reads.
_TRANSPORT = (
    "CASE ordered.transport WHEN 'CART' THEN 'Cart' WHEN 'PORT' THEN 'Portable' WHEN 'WALK' THEN 'Walks'"
    " WHEN 'WHLC' THEN 'Wheelchair' ELSE ordered.transport END"
)
_SIDE = _cases("requested.side", {"L": ", left", "R": ", right", "B": ", both sides"})
_EXAM_NAME = "coalesce(exam.name, nullif(requested.code_text, ''), requested.code)"


#: The components of a DICOM name in their order: HL7 has suffix before prefix (PS3.5 6.2.1).
NAME_PARTS = ("family", "given", "middle", "prefix", "suffix")


#: Between the components of a name and between its groups, so that none of their letters is a delimiter.
COMPONENT, GROUP = "\x1f", "\x1d"


def _name(table: str, *, groups: bool = False) -> str:
    name = f" || '{COMPONENT}' || ".join(f"{table}.{part}" for part in NAME_PARTS)
    if not groups:
        return name
    others = f"'{GROUP}' || {table}.ideographic || '{GROUP}' || {table}.phonetic"
    return f"{name} || CASE WHEN {table}.ideographic = '' AND {table}.phonetic = '' THEN '' ELSE {others} END"


def _list(column: str) -> str:
    """One text that a person parted by commas, semicolons or lines, as several values."""
    return f"CASE WHEN {column} <> '' THEN regexp_replace({column}, '[;,\\n]\\s*', E'\\\\', 'g') END"


def _code(value: str, scheme: str, meaning: str, *tables: str) -> dict[int, Attribute]:
    """Code Sequence Macro (PS3.3 table 8.8-1)."""
    return {
        0x00080100: Attribute("SH", value, tables, Match.SINGLE),
        0x00080102: Attribute("SH", scheme, tables, Match.SINGLE),
        0x00080104: Attribute("LO", meaning, tables, Match.WILDCARD),
    }


def _issuer(namespace: str, *tables: str) -> dict[int, Attribute]:
    """HL7v2 Hierarchic Designator Macro (PS3.3 table 10-17)."""
    return {0x00400031: Attribute("UT", namespace, tables)}


_STATION_NAMES = (
    "(SELECT {} FROM department_station station WHERE station.ae_title = ANY(step.station_ae_titles)"
    " AND station.name <> '')"
)
#: When the modality began, once it has (PS3.4 table K.6-1: may be updated from MPPS).
_BEGUN = (
    "(SELECT to_char(min(exam_begun.started_at) AT TIME ZONE facility.timezone, '{}') FROM exams_exam exam_begun"
    " WHERE exam_begun.procedure_id = requested.id)"
)
#: A number of a merged record finds the survivor's steps, where they are now (RAD-12, PIR).
_HOLDER = (
    "patient.id = ANY(ARRAY(SELECT coalesce(holder.merged_into_id, holder.id) FROM patients_patientidentifier given"
    " JOIN patients_patient holder ON holder.id = given.patient_id WHERE given.primary AND {}))"
)
_DIAGNOSIS = "coalesce(ordered.diagnoses -> 0 ->> '{}', '')"
#: Languages as people write them, and their codes (CID 5000, RFC 5646).
_LANGUAGES = {
    "ar": "Arabic", "bn": "Bengali", "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "fa": "Persian",
    "fr": "French", "hi": "Hindi", "it": "Italian", "ja": "Japanese", "ko": "Korean", "nl": "Dutch", "pl": "Polish",
    "pt": "Portuguese", "ru": "Russian", "so": "Somali", "tl": "Tagalog", "tr": "Turkish", "uk": "Ukrainian",
    "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


def _language(told: Callable[[str], str]) -> str:
    cases = " ".join(
        f"WHEN lower(patient.language) IN ('{code}', '{word.lower()}') THEN '{told(code)}'"
        for code, word in _LANGUAGES.items()
    )
    return f"CASE {cases} ELSE '' END"


_STANDS = "{0}.patient_id = patient.id AND {0}.withdrawn_at IS NULL"


def _newest(kinds: Iterable[Statement.Kind], columns: str) -> str:
    """What was last said of each of these, as a table to select from."""
    return (
        f"(SELECT DISTINCT ON (said.kind) {columns} FROM safety_statement said"
        f" WHERE {_STANDS.format('said')} AND said.kind IN ({_listed(kinds)})"
        " ORDER BY said.kind, said.told_at DESC, said.id DESC)"
    )


def _said_yes(*kinds: Statement.Kind) -> str:
    words = _cases("newest.kind", {kind: str(kind.label) for kind in kinds})
    return (
        f"(SELECT string_agg({words}, E'\\\\' ORDER BY newest.kind)"
        f" FROM {_newest(kinds, 'said.kind, said.value')} newest WHERE newest.value = 'yes')"
    )


#: Pregnancy Status (0010,21C0). That somebody is not pregnant holds on the day they say it. PV1-15 B6 is definite.
_PREGNANCY = (
    "coalesce((SELECT CASE newest.value WHEN 'possible' THEN '2' WHEN 'definite' THEN '3' WHEN 'unknown' THEN '4'"
    " WHEN 'not' THEN CASE WHEN (newest.told_at AT TIME ZONE facility.timezone)::date"
    " = (greatest(step.starts_at, now()) AT TIME ZONE facility.timezone)::date THEN '1' END END"
    f" FROM {_newest([Statement.Kind.PREGNANCY], 'said.value, said.told_at')} newest),"
    " CASE WHEN visit.pregnancy = 'B6' THEN '3' END)"
)
#: In kilograms: as said since the order, else as it came with the order.
_WEIGHT = (
    f"coalesce((SELECT newest.value FROM {_newest([Statement.Kind.WEIGHT], 'said.value, said.told_at')} newest"
    " WHERE newest.told_at >= ordered.ordered_at AND newest.value ~ '^[0-9]{1,3}([.][0-9]{1,3})?$'),"
    " ordered.weight_kg::text)"
)
_ALERTS = (
    f"concat_ws(E'\\\\', {_list('patient.alerts')},"
    " (SELECT string_agg(replace(implant.name, E'\\\\', '/'), E'\\\\' ORDER BY implant.id)"
    f" FROM safety_implant implant WHERE {_STANDS.format('implant')} AND implant.mr <> '{MrCondition.SAFE}'),"
    f" {_said_yes(Statement.Kind.ANTICOAGULANT, Statement.Kind.DIABETES, Statement.Kind.METFORMIN)})"
)
_REACTED_TO = _cases("reaction.kind", {agent: str(agent.label) for agent in Agent})
_ALLERGIES = (
    f"concat_ws(E'\\\\', {_list('patient.allergies')},"
    f" (SELECT string_agg(replace(coalesce(nullif(reaction.agent, ''), {_REACTED_TO}), E'\\\\', '/')"
    f" || CASE reaction.severity WHEN '{Severity.UNKNOWN}' THEN '' ELSE ' (' || reaction.severity || ')' END,"
    " E'\\\\' ORDER BY reaction.id)"
    f" FROM safety_reaction reaction WHERE {_STANDS.format('reaction')}))"
)

_REFERENCE = {0x00081150: Attribute("UI"), 0x00081155: Attribute("UI")}

_STEP = {
    0x00080060: Attribute("CS", "step.modality", (), Match.SINGLE),
    0x00321070: Attribute(
        "LO",
        "CASE WHEN decision.id IS NOT NULL THEN decision.contrast_agent WHEN exam.contrast THEN 'CONTRAST' ELSE '' END",
        ("exam", "decision"),
    ),
    # Type 1, never empty: a step of a room without machines shows the room's code.
    0x00400001: Attribute(
        "AE",
        "coalesce(nullif(array_to_string(step.station_ae_titles, E'\\\\'), ''), room.code)",
        ("room",),
        Match.ANY_OF_MANY,
        key="step.station_ae_titles",
        many=True,
    ),
    0x00400002: Attribute("DA", f"to_char({LOCAL_START}, 'YYYYMMDD')", (), Match.START_DATE),
    0x00400003: Attribute("TM", f"to_char({LOCAL_START}, 'HH24MISS')", (), Match.START_TIME),
    0x00400004: Attribute("DA", f"to_char({_LOCAL_END}, 'YYYYMMDD')"),
    0x00400005: Attribute("TM", f"to_char({_LOCAL_END}, 'HH24MISS')"),
    0x00400006: Attribute("PN", _name("performer"), ("performer",), Match.NAME),
    0x00400007: Attribute(
        "LO",
        f"coalesce(protocol.name || {_SIDE}, step.description)",
        ("decision", "protocol"),
        Match.WILDCARD,
    ),
    0x00400008: Attribute(
        "SQ",
        match=Match.ITEM,
        item=_code(
            "coalesce(protocol.code, step.protocol_code)",
            "coalesce(protocol.scheme, step.protocol_scheme)",
            "coalesce(protocol.name, exam.name, step.description)",
            "exam",
            "decision",
            "protocol",
        ),
    ),
    0x00400009: Attribute("SH", "step.step_id", (), Match.WILDCARD),
    0x00400010: Attribute(
        "SH",
        _STATION_NAMES.format("string_agg(station.name, E'\\\\')"),
        (),
        Match.ANY_OF_MANY,
        key=_STATION_NAMES.format("array_agg(station.name)"),
        many=True,
    ),
    0x00400011: Attribute("SH", "left(room.name, 16)", ("room",), Match.WILDCARD),
    0x00400012: Attribute("LO", "decision.premedication", ("decision",)),
    0x00400020: Attribute("CS", _STATUS, (), Match.SINGLE),
    0x00400400: Attribute(
        "LT", "concat_ws(E'\\n', nullif(appointment.note, ''), nullif(decision.note, ''))", ("decision",)
    ),
}

WORKLIST: dict[int, Attribute] = {
    0x00080020: Attribute("DA", _BEGUN.format("YYYYMMDD")),
    0x00080030: Attribute("TM", _BEGUN.format("HH24MISS")),
    0x00080050: Attribute("SH", "ordered.accession_number", (), Match.WILDCARD),
    0x00080051: Attribute("SQ", item=_issuer("facility.assigning_authority")),
    0x00080080: Attribute("LO", "facility.name"),
    0x00080090: Attribute("PN", _name("referrer"), ("visit", "referrer"), Match.NAME),
    0x00081040: Attribute("LO"),
    0x00081110: Attribute("SQ", item=_REFERENCE),
    0x00081120: Attribute("SQ", item=_REFERENCE),
    0x00100010: Attribute("PN", _name("patient", groups=True), (), Match.NAME),
    0x00100020: Attribute(
        "LO", "number.value", ("number",), Match.WILDCARD, key="given.value", within=_HOLDER
    ),
    0x00100021: Attribute("LO", "number.authority", ("number",), Match.SINGLE),
    # Issuer of Patient ID Qualifiers: what kind of number it is (HL7 table 0203).
    0x00100024: Attribute(
        "SQ",
        item={
            0x00400032: Attribute("UT"),
            0x00400033: Attribute("CS"),
            0x00400035: Attribute("CS", "number.type", ("number",)),
        },
    ),
    # Known in part only, it is no DICOM date.
    0x00100030: Attribute(
        "DA",
        "CASE WHEN length(patient.birth_date) = 10 THEN replace(patient.birth_date, '-', '') END",
        (),
        Match.DATE,
        key="patient.birth_date",
    ),
    0x00100040: Attribute("CS", _SEX, (), Match.SINGLE),
    0x00100101: Attribute(
        "SQ",
        item={
            0x00080100: Attribute("SH", _language(lambda code: code)),
            0x00080102: Attribute("SH", _language(lambda _: "RFC5646")),
            0x00080104: Attribute("LO", _language(lambda code: _LANGUAGES[code])),
        },
    ),
    0x00101002: Attribute(
        "SQ",
        f"(SELECT string_agg(other.value || '{COMPONENT}' || other.authority, '{GROUP}' ORDER BY other.id)"
        " FROM patients_patientidentifier other WHERE other.patient_id = patient.id AND NOT other.primary)",
    ),
    0x00101020: Attribute("DS", "ordered.height_m::text"),
    0x00101030: Attribute("DS", _WEIGHT),
    0x00102000: Attribute("LO", _ALERTS, many=True),
    0x00102110: Attribute("LO", _ALLERGIES, many=True),
    0x001021C0: Attribute("US", _PREGNANCY, ("visit",)),
    0x00104000: Attribute("LT"),
    0x0020000D: Attribute("UI", "requested.study_instance_uid", (), Match.UID_LIST),
    0x00321032: Attribute("PN", _name("orderer"), ("orderer",), Match.NAME),
    0x00321033: Attribute("LO", "ordered.entered_at_organization"),
    0x00321060: Attribute("LO", f"{_EXAM_NAME} || {_SIDE}", ("exam",), Match.WILDCARD),
    0x00321064: Attribute(
        "SQ",
        match=Match.ITEM,
        item=_code(
            "coalesce(exam.code, requested.code)",
            "coalesce(exam.scheme, nullif(requested.code_scheme, ''), 'L')",
            _EXAM_NAME,
            "exam",
        ),
    ),
    0x00380010: Attribute("LO", "visit.number", ("visit",), Match.SINGLE),
    0x00380014: Attribute("SQ", item=_issuer("visit.authority", "visit")),
    0x00380050: Attribute("LO", _said_yes(Statement.Kind.CLAUSTROPHOBIA), many=True),
    0x00380300: Attribute("LO", "visit.location", ("visit",), Match.WILDCARD),
    0x00380500: Attribute("LO", "ordered.danger_code"),
    0x00400026: Attribute("SQ", item=_issuer("ordered.placer_authority")),
    0x00400027: Attribute("SQ", item=_issuer("facility.assigning_authority")),
    STEP_SEQUENCE: Attribute("SQ", match=Match.ITEM, item=_STEP),
    0x00401001: Attribute("SH", "requested.requested_procedure_id", (), Match.WILDCARD),
    0x00401002: Attribute("LO", "ordered.reason"),
    0x00401003: Attribute("SH", _PRIORITY, (), Match.SINGLE),
    0x00401004: Attribute("LO", _TRANSPORT),
    0x0040100A: Attribute(
        "SQ",
        item={
            0x00080100: Attribute("SH", _DIAGNOSIS.format("code")),
            0x00080102: Attribute("SH", _DIAGNOSIS.format("scheme")),
            0x00080104: Attribute("LO", _DIAGNOSIS.format("text")),
        },
    ),
    0x00401400: Attribute("LT", "ordered.clinical_info"),
    0x00402010: Attribute("SH", "ordered.callback_phone"),
    0x00402016: Attribute("LO", "ordered.placer_order_number", (), Match.SINGLE),
    0x00402017: Attribute("LO", "ordered.accession_number", (), Match.SINGLE),
    0x00403001: Attribute("LO", "CASE WHEN patient.restricted THEN 'RESTRICTED' ELSE '' END"),
}
