"""Every key of the worklist, every kind of matching, known and unknown values (PS3.4 table K.6-1, C.2.2.2)."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from functools import partial
from io import BytesIO
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.utils import timezone
from pydicom import dcmread
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pynetdicom.dsutils import encode

from interfaces.dicom.attributes import STEP_SEQUENCE, WORKLIST, Attribute, Match
from interfaces.dicom.charsets import Decoder, Encoder
from interfaces.dicom.database import fetch_prepared
from interfaces.dicom.datasets import Answers
from interfaces.dicom.elements import read
from interfaces.dicom.matching import read_keys
from interfaces.dicom.worklist import statement
from ris.department.models import Station
from ris.patients.actions import NewVisit, open_visit
from ris.patients.models import Patient, PatientIdentifier, Visit
from ris.protocolling.models import Protocol, ProtocolRequest
from ris.safety.models import Implant, Reaction, Statement
from scheduling import actions as scheduling
from tests.cast import person
from tests.makers import (
    make_appointment,
    make_order,
    make_patient,
    make_practitioner,
    make_procedure_type,
    make_room,
)

pytestmark = pytest.mark.django_db

#: Where in an identifier a key stands: the tags of the sequences around it, and its own.
Place = tuple[int, ...]
#: Type 1 and 1C of the table: never empty in an answer.
TYPE_1 = {
    (STEP_SEQUENCE, 0x00400001), (STEP_SEQUENCE, 0x00400002), (STEP_SEQUENCE, 0x00400003),
    (STEP_SEQUENCE, 0x00080060), (STEP_SEQUENCE, 0x00400007), (STEP_SEQUENCE, 0x00400009),
    (0x00401001,), (0x00321060,), (0x0020000D,),
}  # fmt: skip
#: What we never have a value for: universal keys only, answered empty.
NEVER_KNOWN = {
    "ReferencedStudySequence", "ReferencedPatientSequence", "ReferencedSOPClassUID", "ReferencedSOPInstanceUID",
    "InstitutionalDepartmentName", "UniversalEntityID", "UniversalEntityIDType", "StudyDate", "StudyTime",
    "PatientComments",
}  # fmt: skip


def places(known: Mapping[int, Attribute], above: Place = ()) -> Iterator[tuple[Place, Attribute]]:
    for tag, attribute in known.items():
        if attribute.vr == "SQ" and not attribute.sql:
            yield from places(attribute.item, (*above, tag))
        else:
            yield (*above, tag), attribute


PLACES = dict(places(WORKLIST))


def asking(place: Place, value: Any = None) -> Dataset:
    """An identifier with this key, and the accession number to know the answers by."""
    identifier = Dataset()
    identifier.AccessionNumber = ""
    level = identifier
    for tag in place[:-1]:
        item = Dataset()
        level.add_new(tag, "SQ", [item])
        level = item
    vr = dictionary_VR(place[-1])
    level.add_new(place[-1], vr, [] if vr == "SQ" else value)
    return identifier


def search(identifier: Dataset) -> tuple[dict[str, Dataset], bool]:
    """The answers by accession number, and whether all keys were supported (else FF01)."""
    keys = read(encode(identifier, True, True) or b"", explicit=False)
    criteria = read_keys(keys, Decoder())
    answers = Answers(keys, explicit=False)
    rows = [row for (row,) in fetch_prepared(statement(criteria, answers), criteria.parameters)]
    found = [dcmread(BytesIO(answers.data_set(row, Encoder())), force=True) for row in rows]
    return {str(one.AccessionNumber): one for one in found}, not criteria.some_unsupported


def value_at(answer: Dataset, place: Place) -> Any:
    level = answer
    for tag in place[:-1]:
        if not level[tag].value:
            return ""
        level = level[tag].value[0]
    return level[place[-1]].value


@pytest.fixture
def known_and_unknown(db: None) -> tuple[str, str]:
    """Accession numbers of a step of which everything is known, and of one of which only what must be."""
    patient = make_patient(
        "Okafor", "Adaeze", mrn="4417268", alerts="Pacemaker", allergies="Iodine", language="French", restricted=True
    )  # fmt: skip
    visit = open_visit(
        patient,
        NewVisit(number="V77", authority="ADT1", location="WARD 4", referring=make_practitioner("Grimm")),
        by=person("clara"),
    )
    Visit.objects.filter(pk=visit.pk).update(pregnancy="B6")
    PatientIdentifier.objects.create(patient=patient, value="OLD1", authority="OTHER")
    order = make_order(
        patient, visit=visit, procedure_type=make_procedure_type("CTABDC", name="CT abdomen", contrast=True),
        priority="stat", transport="WHLC", placer_order_number="P123", placer_authority="EPIC", danger_code="MRSA",
        reason="Pain", clinical_info="Fell", weight_kg="71.5", height_m="1.80", callback_phone="555 0100",
        entered_at_organization="Ward desk", diagnoses=[{"code": "R10.1", "text": "Upper pain", "scheme": "I10"}],
    )  # fmt: skip
    start = datetime(2031, 7, 5, 10, 30, tzinfo=ZoneInfo("America/New_York"))
    full = make_appointment(order, room=make_room("CT1"), start=start)
    scheduling.change_appointment(full, note="Bring films", by=person("clara"))
    scheduling.assign_performer(full, make_practitioner("Curie"), by=person("clara"))
    ProtocolRequest.objects.create(
        order=order, procedure=order.procedures.get(), status="approved", contrast_agent="Iohexol 350 mg/mL",
        premedication="Prednisolone", decided_by=person("rita"), wanted_since=start,
        protocol=Protocol.objects.create(code="ABDPV", name="Abdomen portal venous", modality="CT"),
    )  # fmt: skip
    say(patient, "claustrophobia", "yes")
    bare_room = make_room("MR1", modality="MR", name="MR")
    Station.objects.filter(ae_title="MR1").delete()
    bare = make_order(
        make_patient("Alone", "", mrn="2", birth_date="", sex="U"), reason="",
        procedure_type=make_procedure_type("MRX", name="MR x", modality="MR"),
    )  # fmt: skip
    type(bare).objects.filter(pk=bare.pk).update(ordering=None)
    make_appointment(bare, room=bare_room, start=start.replace(hour=11, minute=45, day=6))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    return order.accession_number, bare.accession_number


def say(patient: Patient, kind: str, value: str, at: datetime | None = None) -> None:
    Statement.objects.create(
        patient=patient, kind=kind, value=value, noted_by=person("theo"), told_at=at or timezone.now()
    )


def test_what_safety_and_protocol_know_is_told_as_it_stands_now() -> None:
    """MWL-A16, A17, A18, A23, A24, A72, A81, A82, A83, A84: live rows; what was withdrawn is gone at once."""
    order = make_order(make_patient(alerts="Epilepsy", allergies="Latex"), weight_kg="80")
    appointment = make_appointment(order)
    patient, theo, today = order.patient, person("theo"), appointment.starts_at
    keys = ("PregnancyStatus", "MedicalAlerts", "Allergies", "SpecialNeeds", "PatientWeight")

    def told(*keywords: str) -> list[str]:
        identifier = asking((STEP_SEQUENCE, 0x00400007))
        step = identifier.ScheduledProcedureStepSequence[0]
        step.PreMedication = step.RequestedContrastAgent = ""
        step.ScheduledProtocolCodeSequence = []
        for keyword in keys:
            setattr(identifier, keyword, None)
        found = search(identifier)[0][order.accession_number]
        step = found.ScheduledProcedureStepSequence[0]
        values = [(found if one in keys else step)[one].value for one in keywords]
        return ["\\".join(one) if isinstance(one, MultiValue) else str(one or "") for one in values]

    assert told(*keys) == ["", "Epilepsy", "Latex", "", "80.0"]
    for value, status in (("possible", "2"), ("definite", "3"), ("unknown", "4"), ("not", "1")):
        say(patient, "pregnancy", value, today)
        assert told("PregnancyStatus") == [status], value
    say(patient, "pregnancy", "not", today - timedelta(days=30))
    assert told("PregnancyStatus") == ["1"], "the newest counts"
    Statement.objects.filter(told_at=today).update(
        withdrawn_at=timezone.now(), withdrawn_by=theo, withdrawn_reason="Wrong record"
    )
    assert told("PregnancyStatus") == [""], "that she is not holds for its day only"
    Implant.objects.create(patient=patient, name="Pacemaker\\VVI", mr="unsafe", noted_by=theo)
    Implant.objects.create(patient=patient, name="Dental crown", mr="safe", noted_by=theo)
    Reaction.objects.create(patient=patient, kind="iodine", severity="severe", noted_by=theo)
    for kind in ("anticoagulant", "diabetes", "claustrophobia"):
        say(patient, kind, "yes")
    say(patient, "diabetes", "no")
    say(patient, "weight", "71.5")
    assert told(*keys[1:]) == [
        "Epilepsy\\Pacemaker/VVI\\Blood thinner", "Latex\\Iodinated contrast (severe)", "Fear of narrow spaces", "71.5",
    ]  # fmt: skip
    step = ("ScheduledProcedureStepDescription", "PreMedication", "RequestedContrastAgent")
    assert told(*step) == ["CT head", "", ""]
    wanted = ProtocolRequest.objects.filter(procedure__order=order).first() or ProtocolRequest(
        order=order, procedure=order.procedures.get(), wanted_since=today
    )
    wanted.protocol = Protocol.objects.create(code="HEADC", name="Head with contrast", modality="CT")
    wanted.contrast_agent, wanted.premedication, wanted.decided_by = "Iohexol 350", "Prednisolone", theo
    wanted.save()
    assert told(*step) == ["CT head", "", ""], "nobody has decided yet"
    ProtocolRequest.objects.filter(pk=wanted.pk).update(status="approved")
    assert told(*step) == ["Head with contrast", "Prednisolone", "Iohexol 350"]


def test_every_key_matches_as_its_kind_says(known_and_unknown: tuple[str, str]) -> None:
    """MWL-01, MWL-02, MWL-03, MWL-05, MWL-07, MWL-08, MWL-09, MWL-11, MWL-12, MWL-13, MWL-21 for each attribute."""
    both = set(known_and_unknown)
    for place, attribute in PLACES.items():
        name = ">".join(keyword_for_tag(tag) for tag in place)
        answers, supported = search(asking(place))
        assert set(answers) == both, f"{name}: a zero-length key is universal"
        assert supported, name
        value, other = (value_at(answers[number], place) for number in known_and_unknown)
        assert bool(value) == (keyword_for_tag(place[-1]) not in NEVER_KNOWN), name
        assert place not in TYPE_1 or other, name
        if attribute.vr == "SQ":
            continue
        values = dict(zip(known_and_unknown, (_text(value), _text(other)), strict=True))
        for asked, is_hit in _cases(attribute, _text(value)):
            answers, supported = search(asking(place, asked))
            assert supported == (attribute.match is not Match.NONE), f"{name}: {asked}"
            expected = {number for number, stored in values.items() if not supported or is_hit(stored)}
            assert set(answers) == expected, f"{name}: {asked}"


def _text(value: Any) -> str:
    return str(value[0] if isinstance(value, MultiValue) else value)


def _cases(attribute: Attribute, text: str) -> Iterator[tuple[Any, Callable[[str], bool]]]:
    """Values of a key, and whether it finds a step by what is stored for it."""
    match, is_name = attribute.match, attribute.match is Match.NAME

    def is_it(stored: str) -> bool:
        return stored == text

    def nothing(_: str) -> bool:
        return False

    if match is Match.NONE:
        yield {"US": 3, "DA": "20310705", "TM": "10", "UI": "1.2.3"}.get(attribute.vr, "9"), is_it
    elif match in {Match.START_DATE, Match.DATE}:
        yield from ((text, is_it), (f"{text}-{text}", is_it), ("19010101", nothing), ("-19010101", nothing))
        yield f"{text}-", lambda stored: bool(stored) and stored >= text
        yield f"-{text}", lambda stored: bool(stored) and stored <= text
    elif match is Match.START_TIME:
        yield from ((text, is_it), (text[:4], is_it), (f"{text[:4]}-{text[:4]}", is_it), ("0301", nothing))
        yield f"{text}-", lambda stored: stored >= text
        yield "-0301", nothing
    elif match is Match.UID_LIST:
        yield from ((text, is_it), (f"{text}\\1.2.3", is_it), ("1.2.3\\4.5.6", nothing))
    else:
        wild = is_name or match is Match.WILDCARD
        yield from ((text, is_it), (f"{text}\\NOBODY", is_it), (f"{text}9", nothing), ("%", nothing))
        yield "*", lambda _: True
        for pattern in (f"{text[:-1]}?", f"{text[:2]}*"):
            yield pattern, partial(_fits, pattern) if wild else nothing
        if text.swapcase() != text:
            yield text.swapcase(), is_it if is_name else nothing


def _fits(pattern: str, stored: str) -> bool:
    return fnmatchcase(stored, pattern)
