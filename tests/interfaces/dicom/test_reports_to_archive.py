"""A released report as an object in the archive: what it is, and that a real archive takes it (conformance 9)."""

import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from interfaces import engine
from interfaces.actions import configure_endpoint
from interfaces.dicom import queue, scu
from interfaces.models import Case, Endpoint, OutboundMessage
from ris.accounts.models import system_user
from ris.events.outbox import relay_all
from ris.exams.models import Exam
from ris.reporting import actions as reporting
from ris.reporting.models import Report
from tests.cast import person
from tests.makers import make_exam, make_patient, make_practitioner, make_report
from tests.peers.archive import Archive

pytestmark = [pytest.mark.django_db, pytest.mark.peer("orthanc", "orthanc-dicomweb")]

Pacs = Callable[..., Endpoint]


@pytest.fixture
def pacs(archive: Archive, db: None) -> Pacs:
    """`pacs(objects="pdf")` is told of results by C-STORE; `pacs("dicomweb")` by STOW-RS."""

    def make(protocol: str = "dicom", name: str = "PACS", **profile: str) -> Endpoint:
        address = archive.address if protocol == "dicom" else archive.url
        values: dict[str, Any] = {
            "protocol": protocol, "address": address, "ae_title": archive.ae_title, "facts": ["results"],
            "answer_timeout": 10, "profile": profile,
        }  # fmt: skip
        return configure_endpoint(name, values, by=system_user("shell"))

    return make


def told(endpoint: Endpoint) -> list[OutboundMessage]:
    relay_all()
    return list(OutboundMessage.objects.filter(endpoint=endpoint).order_by("pk"))


def read_exam() -> tuple[Exam, Report]:
    patient = make_patient("Müller", "Jörg", ideographic="山田^太郎")
    exam = make_exam(completed=True, patient=patient, ordering=make_practitioner())
    return exam, make_report(exam, signed=True)


def headings(ds: Dataset) -> list[tuple[str, str, str]]:
    return [
        (one.ConceptNameCodeSequence[0].CodeValue, one.ContentSequence[0].ConceptNameCodeSequence[0].CodeValue,
         one.ContentSequence[0].TextValue)
        for one in ds.ContentSequence if one.ValueType == "CONTAINER"
    ]  # fmt: skip


def test_a_signed_report_becomes_a_verified_structured_report(
    pacs: Pacs, archive: Archive, tmp_path: Path
) -> None:
    """SR-01 SR-02 SR-03 SR-04 SR-05 TX-20"""
    endpoint = pacs()
    exam, _ = read_exam()
    (message,) = told(endpoint)
    assert (message.type, message.status, message.key) == (
        "C-STORE SR",
        "queued",
        exam.order.accession_number,
    )
    file = tmp_path / "report.dcm"
    file.write_bytes(message.raw)
    ds = dcmread(file)
    assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.11"
    assert ds.StudyInstanceUID == exam.procedure.study_instance_uid
    assert (ds.AccessionNumber, ds.StudyID) == (
        exam.order.accession_number,
        exam.procedure.requested_procedure_id,
    )
    assert (ds.CompletionFlag, ds.VerificationFlag, ds.PreliminaryFlag) == ("COMPLETE", "VERIFIED", "FINAL")
    verifying = ds.VerifyingObserverSequence[0]
    assert str(verifying.VerifyingObserverName).startswith("Radiologist^Rita")
    assert verifying.VerifyingOrganization == "Harbour Imaging"
    assert ds.ReferencedRequestSequence[0].RequestedProcedureID == exam.procedure.requested_procedure_id
    assert str(ds.PatientName) == "Müller^Jörg=山田^太郎"
    assert ds.ConceptNameCodeSequence[0].CodeValue == "25045-6"
    assert ("59776-5", "121071", "Normal.") in headings(ds)
    assert ("19005-8", "121073", "No acute finding.") in headings(ds)
    # DCMTK reads the tree by the rules of the class.
    judged = subprocess.run(["dsrdump", str(file)], capture_output=True, text=True, timeout=30)
    assert judged.returncode == 0, judged.stderr

    assert queue.drain(endpoint.pk) == 1
    message.refresh_from_db()
    assert (message.status, message.ack_code) == ("accepted", "0000")
    (kept,) = archive.instances(exam.procedure.study_instance_uid)
    assert kept["SOPInstanceUID"] == ds.SOPInstanceUID


def test_the_document_goes_by_stow_too(pacs: Pacs, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """SR-01: Encapsulated PDF and SR over DICOMweb; the secret comes from the environment."""
    monkeypatch.setenv("RIS_PARTNER_PACS", archive.secret)
    endpoint = pacs("dicomweb", objects="both", secret="RIS_PARTNER_PACS")
    exam, report = read_exam()
    assert [one.type for one in told(endpoint)] == ["STOW-RS SR", "STOW-RS PDF"]
    assert queue.drain(endpoint.pk) == 2
    assert {one.status for one in told(endpoint)} == {"accepted"}
    kept = {one["SOPClassUID"]: one for one in archive.instances(exam.procedure.study_instance_uid)}
    file = dcmread(BytesIO(archive.file(kept["1.2.840.10008.5.1.4.1.1.104.1"]["ID"])))
    document = report.parts.get().document
    assert file.EncapsulatedDocument[: file.EncapsulatedDocumentLength] == bytes(document.pdf)


def test_the_message_names_the_stored_document(pacs: Pacs) -> None:
    """RES-23 TX-21: RAD-28 with SR Instance UID, where an archive is sent one."""
    emr = configure_endpoint(
        "EMR", {"protocol": "mllp", "address": "127.0.0.1:9", "facts": ["results"], "profile": {"section_codes": "sr"}},
        by=system_user("shell"),
    )  # fmt: skip
    endpoint = pacs()
    read_exam()
    (stored,), (result,) = told(endpoint), told(emr)
    uid = scu.opened(stored.raw).SOPInstanceUID
    assert f"|HD|^SR Instance UID||{uid}|" in result.raw.decode()


def test_a_wrong_secret_waits_for_a_person_in_a_sentence(pacs: Pacs) -> None:
    endpoint = pacs("dicomweb")
    read_exam()
    (message,) = told(endpoint)
    queue.drain(endpoint.pk)
    message.refresh_from_db()
    assert (message.status, message.ack_code) == ("rejected", "401")
    assert "does not let us in" in message.error_text


def test_an_addendum_names_what_it_replaces_and_a_withdrawal_rejects_it(pacs: Pacs, archive: Archive) -> None:
    """SR-04 RST-06 RST-10 TX-32"""
    endpoint = pacs()
    other = pacs(name="OLD", rejection_notes="no")
    exam, report = read_exam()
    told(endpoint)
    rita = person("rita")
    draft = reporting.begin_addendum(report, by=rita).draft
    words = [{**one, "text": "Seen with the referrer."} for one in draft.sections]
    draft = reporting.save_draft(report, words, version=draft.version, by=rita)
    reporting.sign_report(report, version=draft.version, by=rita)
    first, second = told(endpoint)
    old, new = scu.opened(first.raw), scu.opened(second.raw)
    predecessor = new.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert predecessor.ReferencedSOPInstanceUID == old.SOPInstanceUID
    assert old.SeriesInstanceUID == new.SeriesInstanceUID
    assert headings(new)[-1] == ("55107-7", "121071", "Seen with the referrer.")

    reporting.withdraw_report(report, "wrong_patient", words="Another man's head.", by=rita)
    *_, third = told(endpoint)
    note = scu.opened(third.raw)
    assert third.type == "C-STORE rejection note"
    assert note.ConceptNameCodeSequence[0].CodeValue == "113037"
    assert {one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for one in note.ContentSequence} == {
        old.SOPInstanceUID, new.SOPInstanceUID,
    }  # fmt: skip
    assert queue.drain(endpoint.pk) == 3
    assert len(archive.instances(exam.procedure.study_instance_uid)) == 3
    # Who takes no such note has a person told instead.
    assert "takes no rejection notes" in Case.objects.get(endpoint=other).sentence


def test_nothing_is_lost_while_the_archive_is_down(pacs: Pacs, archive: Archive) -> None:
    """SR-10: it waits, the line says why, and goes when the archive is back."""
    endpoint = pacs()
    configure_endpoint("PACS", {"address": "127.0.0.1:9"}, by=system_user("shell"))
    read_exam()
    (message,) = told(endpoint)
    assert queue.drain(endpoint.pk) == 0
    endpoint.refresh_from_db()
    assert endpoint.failures == 1
    assert "127.0.0.1:9" in endpoint.last_error
    # What cannot be sent at all is set aside, and holds back its own order only.
    read_exam()
    broken = told(endpoint)[1]
    engine.keep_bytes(broken, b"no data set")
    assert queue.drain(endpoint.pk) == 0, "the line waits before it is tried again"
    configure_endpoint("PACS", {"address": archive.address}, by=system_user("shell"))
    assert queue.drain(endpoint.pk) == 2
    message.refresh_from_db()
    broken.refresh_from_db()
    assert (message.status, broken.status) == ("accepted", "rejected")
    assert broken.error_text.startswith("We cannot send it")
