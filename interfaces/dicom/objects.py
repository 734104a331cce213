"""What we make for the archive: a report as Basic Text SR (TID 2000) or Encapsulated PDF, and a rejection note.

Every UID follows from what the object says, so an object that is made twice is the same object.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    KeyObjectSelectionDocumentStorage,
)

from interfaces import object_uids
from interfaces.dicom.scu import encoded, envelope
from ris.core.names import PersonName
from ris.exams.models import Exam
from ris.patients.models import Patient
from ris.reporting.models import ReportPart
from ris.reporting.sections import Section
from ris.reporting.signing import current_parts
from ris.reporting.states import PartKind

Code = tuple[str, str, str]  # value, coding scheme, meaning

#: Document titles, CID 7000.
_TITLES: dict[str, Code] = {
    "CT": ("25045-6", "LN", "CT Report"),
    "MR": ("25056-3", "LN", "MRI Report"),
    "US": ("25061-3", "LN", "Ultrasound Report"),
    "DX": ("43468-8", "LN", "X-Ray Report"),
    "CR": ("43468-8", "LN", "X-Ray Report"),
    "NM": ("49118-3", "LN", "Nuclear Medicine Report"),
    "PT": ("44136-0", "LN", "PET Scan Report"),
    "MG": ("24606-6", "LN", "Mammography Screening Report"),
    "RF": ("49512-7", "LN", "Fluoroscopy Study Report"),
    "XA": ("47048-4", "LN", "Diagnostic Interventional Radiology Report"),
}
_ANY_TITLE: Code = ("18748-4", "LN", "Diagnostic Imaging Report")

#: Section headings (CID 7001) and the element that holds the text of each (CID 7002).
_FINDING: Code = ("121071", "DCM", "Finding")
_HEADINGS: dict[str, tuple[str, Code]] = {
    "55107-7": ("Addendum", _FINDING),
    "55752-0": ("Clinical Information", ("11329-0", "LN", "History")),
    "73568-8": ("Communication of Critical Results", _FINDING),
    "55109-3": ("Complications", ("116224001", "SCT", "Complication of Procedure")),
    "55110-1": ("Conclusions", ("121077", "DCM", "Conclusion")),
    "55111-9": ("Current Procedure Descriptions", ("121065", "DCM", "Procedure Description")),
    "59776-5": ("Findings", _FINDING),
    "11329-0": ("History", ("11329-0", "LN", "History")),
    "19005-8": ("Impressions", ("121073", "DCM", "Impression")),
    "18785-6": ("Indications for Procedure", ("55115-0", "LN", "Request")),
    "55113-5": ("Key Images", _FINDING),
    "29549-3": ("Medications Administered", _FINDING),
    "55108-5": ("Patient Presentation", ("55108-5", "LN", "Patient Presentation")),
    "18834-2": ("Previous Findings", ("121069", "DCM", "Previous Finding")),
    "55114-3": ("Prior Procedure Descriptions", ("121065", "DCM", "Procedure Description")),
    "73569-6": ("Radiation Exposure and Protection Information", _FINDING),
    "18783-1": ("Recommendations", ("121075", "DCM", "Recommendation")),
    "55115-0": ("Request", ("55115-0", "LN", "Request")),
    "55112-7": ("Summary", ("55112-7", "LN", "Summary")),
}
_REJECTED: Code = ("113037", "DCM", "Rejected for Patient Safety Reasons")

#: The most references one object carries; an angiography run has thousands.
_MOST_REFERENCES = 5000
_SMALL_TEXT = 64
_CODE_TEXT = 16


@dataclass(frozen=True, slots=True)
class Told:
    """A part of a report, of one exam, among all exams it reads."""

    exam: Exam
    part: ReportPart
    exams: Sequence[Exam]

    @property
    def study(self) -> str:
        return self.exam.procedure.study_instance_uid

    def of(self, part: ReportPart) -> "Told":
        return Told(self.exam, part, self.exams)


@dataclass(frozen=True, slots=True)
class Reference:
    """An object in its series and study."""

    study: str
    series: str
    sop_class: str
    instance: str


def reference_of(told: Told, shape: str) -> Reference:
    """Where the object is that `told` becomes: shape "sr", "pdf" or "ko"."""
    sop_class = {
        "sr": BasicTextSRStorage,
        "pdf": EncapsulatedPDFStorage,
        "ko": KeyObjectSelectionDocumentStorage,
    }[shape]
    return Reference(
        study=told.study,
        series=object_uids.series_uid(shape, told.study),
        sop_class=str(sop_class),
        instance=object_uids.instance_uid(shape, told.part, told.study),
    )


def basic_text_sr(told: Told, predecessors: Iterable[ReportPart] = ()) -> Dataset:
    """The report as it reads with the part (TID 2000, PS3.3 A.35.1)."""
    part = told.part
    signed = part.kind != PartKind.PRELIMINARY
    ds = _object(told, "sr", "SR")
    ds.SeriesDescription = "Reports"
    ds.ReferencedPerformedProcedureStepSequence = Items()
    ds.ContentDate, ds.ContentTime = _day(told, part.released_at), _clock(told, part.released_at)
    ds.CompletionFlag = "COMPLETE" if signed else "PARTIAL"
    ds.VerificationFlag = "VERIFIED" if signed else "UNVERIFIED"
    ds.PreliminaryFlag = "FINAL" if signed else "PRELIMINARY"
    if signed:
        ds.VerifyingObserverSequence = [_verifying(told)]
    ds.AuthorObserverSequence = [_author(told)]
    ds.ReferencedRequestSequence = [_request(exam) for exam in told.exams]
    ds.PerformedProcedureCodeSequence = [_performed(told.exam)] if _kind(told.exam) else []
    if before := [reference_of(told.of(one), "sr") for one in predecessors]:
        ds.PredecessorDocumentsSequence = _by_study(before)
    if twins := [
        reference_of(Told(one, part, told.exams), "sr") for one in told.exams if one.pk != told.exam.pk
    ]:
        ds.IdenticalDocumentsSequence = _by_study([reference_of(told, "sr"), *twins])
    if evidence := images_of(told.exam):
        ds.CurrentRequestedProcedureEvidenceSequence = _by_study(evidence)
    _tree(ds, told)
    return ds


def encapsulated_pdf(told: Told, pdf: bytes, predecessors: Iterable[ReportPart] = ()) -> Dataset:
    """The report on paper (PS3.3 A.45.1)."""
    part = told.part
    ds = _object(told, "pdf", "DOC")
    ds.SeriesDescription = "Reports"
    ds.ConversionType = "WSD"
    ds.ContentDate, ds.ContentTime = _day(told, part.released_at), _clock(told, part.released_at)
    ds.AcquisitionDateTime = ""
    ds.BurnedInAnnotation = "YES"
    ds.RecognizableVisualFeatures = "NO"
    ds.DocumentTitle = _title(told.exam)[2]
    ds.VerificationFlag = "UNVERIFIED" if part.kind == PartKind.PRELIMINARY else "VERIFIED"
    ds.ConceptNameCodeSequence = [_code(*_title(told.exam))]
    if before := [reference_of(told.of(one), "pdf") for one in predecessors]:
        ds.PredecessorDocumentsSequence = _by_study(before)
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    # OB has an even length; readers of PDF pass over what follows the end.
    ds.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    ds.EncapsulatedDocumentLength = len(pdf)
    return ds


def rejection_note(told: Told, rejected: Sequence[Reference]) -> Dataset:
    """A Key Object Selection that takes back what was stored of a withdrawn report (RAD-66, PS3.3 A.35.4)."""
    ds = _object(told, "ko", "KO")
    ds.SeriesDescription = "Rejection notes"
    ds.ReferencedPerformedProcedureStepSequence = Items()
    at = told.part.released_at
    ds.ContentDate, ds.ContentTime = _day(told, at), _clock(told, at)
    ds.ReferencedRequestSequence = [_request(exam) for exam in told.exams]
    ds.CurrentRequestedProcedureEvidenceSequence = _by_study(rejected)
    ds.ValueType = "CONTAINER"
    ds.ConceptNameCodeSequence = [_code(*_REJECTED)]
    ds.ContinuityOfContent = "SEPARATE"
    ds.ContentTemplateSequence = [_template("2010")]
    ds.ContentSequence = [_referenced(one) for one in rejected]
    return ds


def file_of(ds: Dataset) -> bytes:
    """The object as a DICOM file (PS3.10): what is stored, shown and sent."""
    return envelope(encoded(ds), str(ds.SOPClassUID), str(ds.SOPInstanceUID), str(ExplicitVRLittleEndian))


def images_of(exam: Exam) -> list[Reference]:
    """What the modalities said they made (Performed Series Sequence of the MPPS)."""
    found: list[Reference] = []
    for step in exam.performed_steps.all():
        for series in step.attributes.get("00400340", {}).get("Value", []):
            for tag in ("00081140", "00400220"):
                found += [
                    Reference(exam.procedure.study_instance_uid, _text(series, "0020000E"), _text(one, "00081150"),
                              _text(one, "00081155"))
                    for one in series.get(tag, {}).get("Value", [])
                ]  # fmt: skip
    return [one for one in found if one.series and one.sop_class and one.instance][:_MOST_REFERENCES]


def _text(model: dict[str, dict[str, list[str | None]]], tag: str) -> str:
    values = model.get(tag, {}).get("Value") or [""]
    return values[0] or ""


# Header


def _object(told: Told, shape: str, modality: str) -> Dataset:
    """Patient, study, series, equipment and SOP common."""
    exam, order = told.exam, told.exam.order
    where, at = reference_of(told, shape), told.part.released_at
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.TimezoneOffsetFromUTC = f"{at.astimezone(_zone(exam)):%z}"
    ds.InstanceCreationDate, ds.InstanceCreationTime = _day(told, at), _clock(told, at)
    ds.SOPClassUID, ds.SOPInstanceUID = UID(where.sop_class), UID(where.instance)
    _identify(ds, order.patient)
    ds.StudyInstanceUID = where.study
    ds.StudyDate, ds.StudyTime = _day(told, exam.started_at), _clock(told, exam.started_at)
    ds.ReferringPhysicianName = _pn(order.ordering.name) if order.ordering else ""
    ds.StudyID = exam.procedure.requested_procedure_id
    ds.StudyDescription = _plain(exam.procedure.label)
    ds.AccessionNumber = order.accession_number
    ds.IssuerOfAccessionNumberSequence = [_issuer(order.facility.assigning_authority)]
    ds.Modality = modality
    ds.SeriesInstanceUID = where.series
    ds.SeriesNumber = {"SR": 9001, "DOC": 9002, "KO": 9003}[modality]
    ds.InstanceNumber = told.part.number
    ds.Manufacturer = "Lightbox"
    ds.ManufacturerModelName = "Lightbox RIS"
    ds.InstitutionName = _plain(order.facility.name)
    return ds


def _identify(ds: Dataset, patient: Patient) -> None:
    ds.PatientName = _pn(patient.name)
    known = sorted(patient.identifiers.all(), key=lambda one: (not one.primary, one.pk))
    ds.PatientID = _plain(known[0].value) if known else ""
    if known:
        ds.IssuerOfPatientID = _plain(known[0].authority)
    ds.PatientBirthDate = patient.birth_date.replace("-", "") if patient.birth_day else ""
    ds.PatientSex = patient.sex if patient.sex in ("M", "F", "O") else ""
    if known[1:]:
        ds.OtherPatientIDsSequence = [_other_id(one.value, one.authority) for one in known[1:]]


def _other_id(value: str, authority: str) -> Dataset:
    item = Dataset()
    item.PatientID, item.IssuerOfPatientID, item.TypeOfPatientID = _plain(value), _plain(authority), "TEXT"
    return item


def _request(exam: Exam) -> Dataset:
    """Referenced Request Sequence: what was asked, as order and worklist named it."""
    order, procedure = exam.order, exam.procedure
    item = Dataset()
    item.StudyInstanceUID = procedure.study_instance_uid
    item.ReferencedStudySequence = Items()
    item.AccessionNumber = order.accession_number
    item.IssuerOfAccessionNumberSequence = [_issuer(order.facility.assigning_authority)]
    item.PlacerOrderNumberImagingServiceRequest = _plain(order.placer_order_number)
    item.FillerOrderNumberImagingServiceRequest = order.accession_number
    item.RequestedProcedureID = procedure.requested_procedure_id
    item.RequestedProcedureDescription = _plain(procedure.label)
    item.RequestedProcedureCodeSequence = [_performed(exam)] if _kind(exam) else []
    item.ReasonForTheRequestedProcedure = _plain(order.reason)
    return item


def _kind(exam: Exam) -> str:
    kind = exam.procedure.procedure_type
    return kind.modality if kind else ""


def _performed(exam: Exam) -> Dataset:
    kind = exam.procedure.procedure_type
    assert kind is not None, "asked for known exams only"
    return _code(kind.code, kind.scheme, kind.name)


def _verifying(told: Told) -> Dataset:
    item = Dataset()
    item.VerifyingOrganization = _plain(told.exam.order.facility.name)
    item.VerificationDateTime = _moment(told, told.part.released_at)
    item.VerifyingObserverName = _signer(told.part)
    item.VerifyingObserverIdentificationCodeSequence = Items()
    return item


def _author(told: Told) -> Dataset:
    item = Dataset()
    item.ObserverType = "PSN"
    item.PersonName = _user(told.part.author)
    item.PersonIdentificationCodeSequence = Items()
    item.InstitutionName = _plain(told.exam.order.facility.name)
    item.InstitutionCodeSequence = Items()
    return item


def _signer(part: ReportPart) -> str:
    return _user(part.signed_by or part.author)


def _user(user: object) -> str:
    practitioner = getattr(user, "practitioner", None)
    if practitioner is not None:
        return _pn(practitioner.name)
    return _pn(PersonName(getattr(user, "last_name", ""), getattr(user, "first_name", "")))


def _issuer(authority: str) -> Dataset:
    item = Dataset()
    item.LocalNamespaceEntityID = authority
    return item


def _by_study(references: Iterable[Reference]) -> Items:
    """References as PS3.3 C.17.2.1 nests them: study, series, object."""
    studies: dict[str, dict[str, list[Reference]]] = {}
    for one in references:
        studies.setdefault(one.study, {}).setdefault(one.series, []).append(one)
    found = []
    for study, series in studies.items():
        item = Dataset()
        item.ReferencedSeriesSequence = []
        for uid, objects in series.items():
            inner = Dataset()
            inner.ReferencedSOPSequence = [_sop(one) for one in objects]
            inner.SeriesInstanceUID = uid
            item.ReferencedSeriesSequence.append(inner)
        item.StudyInstanceUID = study
        found.append(item)
    return Items(found)


def _sop(one: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = one.sop_class, one.instance
    return item


# Content tree


def _title(exam: Exam) -> Code:
    return _TITLES.get(_kind(exam), _ANY_TITLE)


def _tree(ds: Dataset, told: Told) -> None:
    ds.ValueType = "CONTAINER"
    ds.ConceptNameCodeSequence = [_code(*_title(told.exam))]
    ds.ContinuityOfContent = "SEPARATE"
    ds.ContentTemplateSequence = [_template("2000")]
    ds.ContentSequence = [
        _language(),
        _observer("121005", "Observer Type", "CODE", ("121006", "DCM", "Person")),
        _observer("121008", "Person Observer Name", "PNAME", _signer(told.part)),
        _observer("121009", "Person Observer's Organization Name", "TEXT", told.exam.order.facility.name),
        *(_heading(one) for one in _sections(told.part) if one["text"].strip()),
    ]


def _sections(part: ReportPart) -> list[Section]:
    return [section for one in current_parts(part.report, part.number) for section in one.sections]


def _language() -> Dataset:
    """TID 1204."""
    item = _item("HAS CONCEPT MOD", "CODE", ("121049", "DCM", "Language of Content Item and Descendants"))
    item.ConceptCodeSequence = [_code("en", "RFC5646", "English")]
    return item


def _observer(value: str, meaning: str, kind: str, content: str | Code) -> Dataset:
    """TID 1001 to 1003: who says so."""
    item = _item("HAS OBS CONTEXT", kind, (value, "DCM", meaning))
    if kind == "CODE":
        item.ConceptCodeSequence = [_code(*content)]
    elif kind == "PNAME":
        item.PersonName = content
    else:
        item.TextValue = content
    return item


def _heading(section: Section) -> Dataset:
    """A section under its LOINC heading, with its text in it."""
    meaning, element = _HEADINGS.get(section["code"], (section["title"], _FINDING))
    container = _item("CONTAINS", "CONTAINER", (section["code"], "LN", meaning))
    container.ContinuityOfContent = "SEPARATE"
    text = _item("CONTAINS", "TEXT", element)
    text.TextValue = section["text"]
    container.ContentSequence = [text]
    return container


def _referenced(one: Reference) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", "COMPOSITE"
    item.ReferencedSOPSequence = [_sop(one)]
    return item


def _item(relationship: str, value_type: str, name: Code) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = relationship, value_type
    item.ConceptNameCodeSequence = [_code(*name)]
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    # Code Value is SH; what is longer has an attribute of its own (PS3.3 8.1).
    setattr(item, "CodeValue" if len(value) <= _CODE_TEXT else "LongCodeValue", value)
    item.CodingSchemeDesignator, item.CodeMeaning = (scheme or "L")[:_CODE_TEXT], _plain(meaning)
    return item


def _template(number: str) -> Dataset:
    item = Dataset()
    item.MappingResource, item.TemplateIdentifier = "DCMR", number
    return item


# Values


def _pn(name: PersonName) -> str:
    """PN: prefix before suffix, other than in XPN (PS3.5 6.2.1)."""
    parts = (name.family, name.given, name.middle, name.prefix, name.suffix)
    alphabetic = "^".join(_plain(part).translate(_NO_CARETS) for part in parts).rstrip("^")
    groups = (alphabetic, _plain(name.ideographic), _plain(name.phonetic))
    return "=".join(group[:_SMALL_TEXT] for group in groups).rstrip("=")


_NO_CARETS = str.maketrans("^=", "  ")


def _plain(text: str) -> str:
    """For VR LO, SH and PN: one line of at most 64 characters, in which a backslash would part two values."""
    kept = "".join(one if one.isprintable() else " " for one in text.replace("\\", "/"))
    return kept.strip()[:_SMALL_TEXT]


def _zone(exam: Exam) -> ZoneInfo:
    return ZoneInfo(exam.order.facility.timezone)


def _day(told: Told, at: datetime) -> str:
    return f"{at.astimezone(_zone(told.exam)):%Y%m%d}"


def _clock(told: Told, at: datetime) -> str:
    return f"{at.astimezone(_zone(told.exam)):%H%M%S}"


def _moment(told: Told, at: datetime) -> str:
    return f"{at.astimezone(_zone(told.exam)):%Y%m%d%H%M%S%z}"
