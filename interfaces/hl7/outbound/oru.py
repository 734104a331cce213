"""ORU^R01 out: a report from "not yet read" to withdrawn (RAD-28 in 2.3.1, RAD-128 in 2.5.1)."""

import base64
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from urllib.parse import quote

from interfaces.hl7 import er7
from interfaces.hl7.er7 import Raw, Value
from interfaces.hl7.outbound import orm, parts
from interfaces.hl7.outbound.parts import Writer
from interfaces.object_uids import SR, are_stored, instance_uid
from ris.exams.models import Exam
from ris.reporting.models import Discrepancy, ReportPart
from ris.reporting.sections import IMPRESSION, Section
from ris.reporting.signing import current_parts
from ris.reporting.states import TAKING_BACK, Finding, PartKind

_KIND = ("ORU", "R01", "ORU_R01")

#: OBR-25 and OBX-11 (tables 0123 and 0085) where the partner's profile has no say.
_STATUS = {
    PartKind.PRELIMINARY: "P",
    PartKind.FINAL: "F",
    PartKind.CORRECTION: "C",
    PartKind.CANCELLATION: "X",
}

#: OBX-3.1.2 where a partner knows the order's own code with a suffix (HL7 2.5.1 7.2.3).
_SUFFIXES = {"59776-5": "GDT", "19005-8": "IMP", "18783-1": "REC", "55107-7": "ADT"}

_DISCREPANCY = ["", "Discrepancy with preliminary report"]
_DOCUMENT = ["18748-4", "Diagnostic imaging study", "LN"]

#: OBX-8 (table 0078) and OBX-17 (RadLex).
_FINDINGS: dict[str, tuple[str, list[str]]] = {
    Finding.NONE: ("N", ["RID50261", "Non-actionable", "RadLex"]),
    Finding.DAYS: ("A", ["RID49482", "Category 3 Non-critical Actionable Finding", "RadLex"]),
    Finding.HOURS: ("AA", ["RID49481", "Category 2 Non-critical Actionable Finding", "RadLex"]),
    Finding.MINUTES: ("AA", ["RID49480", "Category 1 Critical Actionable Finding", "RadLex"]),
}


@dataclass(frozen=True, slots=True)
class Result:
    """What one message tells: a part of a report, of one exam or of those read together."""

    exams: Sequence[Exam]
    #: None while nobody has read it.
    part: ReportPart | None
    pdf: bytes | None = None
    #: Other exams of the order wait to be read.
    partial: bool = False
    #: It is told anew because its record has become another patient's.
    moved: bool = False

    def statuses(self, writer: Writer) -> tuple[str, str]:
        """(OBR-25, OBX-11). What is signed is final in itself, even where the order has more to come."""
        if self.part is None:
            return "I", "I"
        kind = PartKind(self.part.kind)
        if kind == PartKind.WITHDRAWAL:
            return writer.option("withdrawn").upper(), writer.option("withdrawn_lines").upper()
        own = writer.option("addendum").upper() if kind == PartKind.ADDENDUM else _STATUS[kind]
        if self.moved and own == "F":
            own = "C"
        return "R" if self.partial and kind != PartKind.CANCELLATION else own, own


@dataclass(frozen=True, slots=True)
class Observation:
    """One OBX: fields 2 to 5 and 11, and the further ones it has."""

    type: str
    code: Value
    sub_id: str
    value: Value | Raw
    status: str
    more: Mapping[int, Value | Raw] = field(default_factory=dict)


def result_message(result: Result, writer: Writer) -> bytes:
    """The report as it reads with the part. Of exams read together the first has the text, the rest point to it."""
    first, *rest = result.exams
    segments = [
        parts.pid(first.order.patient, first.order.visit, writer),
        parts.pv1(first.order.visit, writer),
    ]
    found = list(observations(result, first, writer))
    segments += order_segments(result, first, 1, {}, writer)
    segments += observation_segments(result.part, first, found, writer)
    parent = _parent(first, found, writer)
    for number, exam in enumerate(rest, 2):
        study = [_study(exam, result.statuses(writer)[1], writer)]
        segments += order_segments(result, exam, number, parent, writer)
        segments += observation_segments(result.part, exam, study, writer)
    return writer.message(_KIND, segments)


def order_segments(
    result: Result, exam: Exam, number: int, parent: Mapping[int, Value | Raw], writer: Writer
) -> list[str]:
    """ORC, OBR and TQ1 of one order."""
    order = exam.order
    status, _ = result.statuses(writer)
    common = parts.common_order(order, writer, {1: "RE", 5: "A" if status in "IPR" else "CM"})
    segments = [common, _request(result, exam, number, status, parent, writer)]
    if writer.modern:
        # RAD-128: the time stands in TQ1-7, after OBR in ORU_R01.
        urgency = parts.priority(order, writer)
        segments.append(er7.segment("TQ1", {1: "1", 7: writer.time(exam.started_at), 9: urgency}))
    return segments


def _request(
    result: Result, exam: Exam, number: int, status: str, parent: Mapping[int, Value | Raw], writer: Writer
) -> str:
    order, procedure, part = exam.order, exam.procedure, result.part
    principal = (part.signed_by or part.author) if part else None
    assistant = part.author if part and part.author_id != getattr(principal, "pk", None) else None
    name = parts.ndl_of if writer.option("interpreter") == "ndl" else parts.xcn_of
    kind = procedure.procedure_type
    timing: Value = ["1", "once", "", writer.time(exam.started_at), "", parts.priority(order, writer)]
    return er7.segment(
        "OBR",
        {
            1: str(number),
            2: parts.placer(order),
            3: parts.filler(order, writer),
            4: parts.ordered(procedure, writer),
            7: writer.time(exam.started_at),
            8: writer.time(exam.ended_at),
            13: order.clinical_info,
            16: parts.xcn(order.ordering, writer),
            18: order.accession_number,
            19: procedure.requested_procedure_id,
            22: writer.time(part.released_at if part else writer.at),
            24: parts.modality(kind.modality, writer) if kind else "RAD",
            25: status,
            27: "" if writer.modern else timing,
            28: er7.repeat([parts.xcn(one, writer) for one in order.copies_to.all()]),
            31: parts.reason(order),
            32: name(principal, writer),
            33: name(assistant, writer),
            34: name(exam.technologist, writer),
            44: parts.ordered(procedure, writer),
            **parent,
        },
    )


def _parent(exam: Exam, found: Sequence[Observation], writer: Writer) -> dict[int, Value | Raw]:
    """OBR-26 and OBR-29: where the text is, and under which order (HL7 2.5.1 4.5.3.26, 4.5.3.29)."""
    texts = [one for one in found if one.type in ("FT", "TX")]
    shown = [one for one in texts if one.code[0] == IMPRESSION[0]] or texts
    numbers = [_components(parts.placer(exam.order)), _components(parts.filler(exam.order, writer))]
    link: dict[int, Value | Raw] = {29: numbers}
    if shown:
        link[26] = [_components(shown[-1].code), shown[-1].sub_id]
    return link


def _components(value: Value) -> list[str]:
    """As subcomponents of one component."""
    if isinstance(value, str):
        return [value]
    return [one if isinstance(one, str) else one[0] for one in value]


def observation_segments(
    part: ReportPart | None, exam: Exam, found: Sequence[Observation], writer: Writer
) -> list[str]:
    observer = parts.xcn_of(part.signed_by or part.author, writer) if part else ""
    observed = writer.time(exam.started_at)
    return [
        er7.segment(
            "OBX",
            {
                1: str(number), 2: one.type, 3: one.code, 4: one.sub_id, 5: one.value, 11: one.status,
                14: observed, 16: observer, **one.more,
            },
        )
        for number, one in enumerate(found, 1)
    ]  # fmt: skip


def observations(result: Result, exam: Exam, writer: Writer) -> Iterator[Observation]:
    """The study, each section, and the document."""
    _, status = result.statuses(writer)
    yield _study(exam, status, writer)
    if link := writer.option("image_link"):
        yield _images(link, exam, status, writer)
    if (part := result.part) is None:
        return
    signed = part.kind not in (*TAKING_BACK, PartKind.PRELIMINARY)
    if writer.option("section_codes") == "sr" and signed and are_stored(SR):
        # RAD-28: the document that the text was taken from.
        uid = instance_uid(SR, part, exam.procedure.study_instance_uid)
        yield Observation("HD", ["", "SR Instance UID"], "", uid, status)
    yield from _text(part, exam, status, writer)
    if part.kind == PartKind.FINAL and (found := Discrepancy.objects.filter(final=part).first()):
        # Care may have begun on the preliminary text.
        rating = f": {found.get_significance_display()}" if found.significance else ""
        yield Observation(
            "ST", _DISCREPANCY, "", f"Differs from the preliminary report{rating}", status, {8: "A"}
        )
    if writer.option("digest") == "yes":
        yield Observation("ST", ["", "SHA-256 of the signed text"], "", part.digest, status)
    if result.pdf is not None:
        application = writer.endpoint.sending_application or "LIGHTBOX"
        data = base64.b64encode(result.pdf).decode()
        yield Observation("ED", _DOCUMENT, "", [application, "application", "pdf", "Base64", data], status)


def _study(exam: Exam, status: str, writer: Writer) -> Observation:
    uid = orm.study_uid(exam.procedure)
    if writer.modern:
        return Observation("ST", ["113014", "DICOM Study", "DCM"], "", uid, "O")
    return Observation("HD", ["", "Study Instance UID"], "", uid, status)


def _images(link: str, exam: Exam, status: str, writer: Writer) -> Observation:
    """Where the images are shown; the address is the site's, with the study put in."""
    address = link.replace("{study_uid}", quote(orm.study_uid(exam.procedure), safe=""))
    address = address.replace("{accession}", quote(exam.order.accession_number, safe=""))
    code = ["", "Images"]
    if writer.option("image_link_as") == "st":
        return Observation("ST", code, "", address, status)
    application = writer.endpoint.sending_application or "LIGHTBOX"
    return Observation("RP", code, "", [address, application, "IM", "DICOM"], status)


def _text(part: ReportPart, exam: Exam, status: str, writer: Writer) -> Iterator[Observation]:
    """The sections in OBX; of a part that takes back, those it takes back with a notice for their words.

    Sections of one code are told apart by OBX-4 (HL7 2.5.1 7.4.2.4): 1, 2; the pieces of one section are
    1.1, 1.2.
    """
    notice = part.sections[0]["text"] if part.kind in TAKING_BACK else ""
    flags: dict[int, Value | Raw] = {}
    if part.finding and not notice:
        flag, category = _FINDINGS[part.finding]
        flags = {8: flag, 17: category} if writer.modern else {8: flag}
    seen: Counter[str] = Counter()
    for section in full_text(part, alone=writer.option("addendum") == "a"):
        code = _section_code(exam, section, writer)
        seen[str(code[0])] += 1
        group = str(seen[str(code[0])])
        more = flags if section["code"] == IMPRESSION[0] else {}
        pieces = [*_pieces(section["text"], writer)]
        for number, (type_, value) in enumerate(pieces, 1):
            if notice:
                value = f"{part.get_kind_display().upper()}: {notice}" if number == 1 else ""
            sub_id = group if len(pieces) == 1 else f"{group}.{number}"
            yield Observation(type_, code, sub_id, value, status, more)


def _pieces(text: str, writer: Writer) -> Iterator[tuple[str, Value | Raw]]:
    """(OBX-2, OBX-5) of a section's text, none longer than the partner takes, with no line lost."""
    how, limit = writer.option("text"), int(writer.option("text_limit"))
    if how == "tx":
        for line in text.split("\n"):
            for piece in split(line, limit):
                yield "TX", piece
    elif how == "rep":
        # A repetition mark is shorter than the escape of a line break.
        for piece in split(text, limit):
            yield "TX", er7.repeat(piece.split("\n"))
    else:
        for piece in split(text, limit):
            yield "FT", piece


def split(text: str, limit: int) -> list[str]:
    """`text` in pieces that take at most `limit` characters once escaped.

    It breaks at the end of a line where it can, else after a word, else in it; the line end at a break is
    the end of the piece.
    """
    # No character grows to more than five.
    if len(text) * 5 <= limit or len(er7.encode(text)) <= limit:
        return [text]
    pieces: list[list[str]] = []
    room = 0
    for line in text.split("\n"):
        for part in _short(line, limit):
            size = len(er7.encode(part)) + len("\\.br\\")
            if size > room or part is not line:
                pieces.append([])
                room = limit + len("\\.br\\")
            pieces[-1].append(part)
            room -= size
    return ["\n".join(piece) for piece in pieces]


def _short(line: str, limit: int) -> list[str]:
    if len(er7.encode(line)) <= limit:
        return [line]
    step = limit // 5
    cuts = [0]
    while len(line) - cuts[-1] > step:
        blank = line.rfind(" ", cuts[-1] + 1, cuts[-1] + step)
        cuts.append(blank + 1 if blank > 0 else cuts[-1] + step)
    return [line[start:end] for start, end in pairwise([*cuts, len(line)])]


def full_text(part: ReportPart, *, alone: bool = False) -> list[Section]:
    """The filled sections of the report as it reads with `part`, addenda after the text they add to.

    With `alone`, an addendum without the text it adds to; of a part that takes back, what it takes back.
    """
    shown = current_parts(part.report, part.number)
    if part.kind in TAKING_BACK:
        shown = shown[1:]
    elif part.kind == PartKind.ADDENDUM and alone:
        shown = [part]
    return [section for one in shown for section in one.sections if section["text"].strip()]


def _section_code(exam: Exam, section: Section, writer: Writer) -> Sequence[str | Sequence[str]]:
    how = writer.option("section_codes")
    if how == "suffix":
        suffix = _SUFFIXES.get(section["code"], "GDT")
        return [[exam.procedure.code, suffix], section["title"], exam.procedure.code_scheme]
    if how == "sr":
        return ["", "SR Text"]
    return [section["code"], section["title"], "LN"]
