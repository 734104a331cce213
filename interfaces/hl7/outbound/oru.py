"""ORU^R01 out: preliminary, final and corrected reports (RAD-28 in 2.3.1, RAD-128 in 2.5.1)."""

import base64
from collections import Counter
from collections.abc import Iterator

from interfaces.hl7 import codes, er7
from interfaces.hl7.er7 import Value
from interfaces.hl7.outbound import orm, parts
from interfaces.hl7.outbound.parts import Writer
from ris.exams.models import Exam
from ris.reporting.models import ReportPart
from ris.reporting.sections import Section
from ris.reporting.signing import current_parts
from ris.reporting.states import PartKind

_KIND = ("ORU", "R01", "ORU_R01")

#: OBR-25 and OBX-11. An addendum goes out as a correction with the full text (RST-06).
_STATUS = {
    PartKind.PRELIMINARY: "P",
    PartKind.FINAL: "F",
    PartKind.ADDENDUM: "C",
    PartKind.CORRECTION: "C",
}

#: OBX-3.1.2 where a partner knows the order's own code with a suffix (HL7 2.5.1 7.2.3).
_SUFFIXES = {"59776-5": "GDT", "19005-8": "IMP", "18783-1": "REC"}

_DOCUMENT = ["18748-4", "Diagnostic imaging study", "LN"]


def result_message(exam: Exam, part: ReportPart, pdf: bytes | None, writer: Writer) -> bytes:
    """The report as it reads with `part`, for one of its exams."""
    order, procedure = exam.order, exam.procedure
    status = _STATUS[PartKind(part.kind)]
    principal = part.signed_by or part.author
    assistant = part.author if part.author_id != principal.pk else None
    name = parts.ndl_of if writer.option("interpreter") == "ndl" else parts.xcn_of
    kind = procedure.procedure_type
    timing: Value = ["1", "once", "", writer.time(exam.started_at), "", codes.priority_code(order.priority)]
    request = er7.segment(
        "OBR",
        {
            1: "1",
            2: parts.placer(order),
            3: parts.filler(order, writer),
            4: parts.ordered(procedure),
            7: writer.time(exam.started_at),
            8: writer.time(exam.ended_at),
            13: order.clinical_info,
            16: parts.xcn(order.ordering, writer),
            18: order.accession_number,
            19: procedure.requested_procedure_id,
            22: writer.time(part.released_at),
            24: codes.modality_code(kind.modality) if kind else "RAD",
            25: status,
            27: "" if writer.modern else timing,
            31: ["", order.reason] if order.reason else "",
            32: name(principal, writer),
            33: name(assistant, writer),
            34: name(exam.technologist, writer),
            44: parts.ordered(procedure),
        },
    )
    common = parts.common_order(order, writer, {1: "RE", 5: "A" if status == "P" else "CM"})
    segments = [parts.pid(order.patient, order.visit), parts.pv1(order.visit, writer), common, request]
    if writer.modern:
        # RAD-128: the time stands in TQ1-7, after OBR in ORU_R01.
        segments.append(
            er7.segment(
                "TQ1", {1: "1", 7: writer.time(exam.started_at), 9: codes.priority_code(order.priority)}
            )
        )
    observer = parts.xcn_of(principal, writer)
    observed = writer.time(exam.started_at)
    for number, (type_, code, sub_id, value, result) in enumerate(
        _observations(exam, part, pdf, status, writer), 1
    ):
        segments.append(
            er7.segment(
                "OBX",
                {
                    1: str(number),
                    2: type_,
                    3: code,
                    4: sub_id,
                    5: value,
                    11: result,
                    14: observed,
                    16: observer,
                },
            )
        )
    return writer.message(_KIND, segments)


Observation = tuple[str, Value, str, Value, str]


def _observations(
    exam: Exam, part: ReportPart, pdf: bytes | None, status: str, writer: Writer
) -> Iterator[Observation]:
    """(OBX-2, OBX-3, OBX-4, OBX-5, OBX-11) of the study, each section, and the document."""
    uid = orm.study_uid(exam.procedure)
    if writer.modern:
        yield "ST", ["113014", "DICOM Study", "DCM"], "", uid, "O"
    else:
        yield "HD", ["", "Study Instance UID"], "", uid, status
    seen: Counter[str] = Counter()
    for section in full_text(part):
        seen[section["code"]] += 1
        code = _section_code(exam, section, writer)
        sub_id = str(seen[section["code"]])
        if writer.option("text") == "tx":
            for line in section["text"].split("\n"):
                yield "TX", code, sub_id, line, status
        else:
            yield "FT", code, sub_id, section["text"], status
    if pdf is not None:
        application = writer.endpoint.sending_application or "LIGHTBOX"
        data = base64.b64encode(pdf).decode()
        yield "ED", _DOCUMENT, "", [application, "application", "pdf", "Base64", data], status


def full_text(part: ReportPart) -> list[Section]:
    """The filled sections of the report as it reads with `part`, addenda after the text they add to."""
    return [
        section
        for one in current_parts(part.report, part.number)
        for section in one.sections
        if section["text"].strip()
    ]


def _section_code(exam: Exam, section: Section, writer: Writer) -> Value:
    if writer.option("section_codes") == "suffix":
        suffix = "ADT" if section["code"] == "55107-7" else _SUFFIXES.get(section["code"], "GDT")
        return [[exam.procedure.code, suffix], section["title"], exam.procedure.code_scheme]
    return [section["code"], section["title"], "LN"]
