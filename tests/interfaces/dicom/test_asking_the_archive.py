"""What the archive is asked: images of recent exams (RAD-11, IAN-03), a patient's studies, and its viewer (RAD-106)."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from interfaces import priors, viewer
from interfaces.actions import configure_endpoint
from interfaces.dicom import archive as asking
from interfaces.dicom import scu
from interfaces.models import Endpoint
from ris.accounts.models import system_user
from ris.audit.models import AuditEvent
from ris.exams.models import Exam, StudyImages
from tests.cast import person
from tests.makers import make_exam, make_order, make_patient
from tests.peers.archive import Archive

pytestmark = [pytest.mark.django_db, pytest.mark.peer("orthanc", "orthanc-dicomweb")]

Pacs = Callable[..., Endpoint]


@pytest.fixture
def pacs(archive: Archive, db: None, monkeypatch: pytest.MonkeyPatch) -> Pacs:
    monkeypatch.setenv("RIS_PARTNER_PACS", archive.secret)

    def make(protocol: str = "dicom", name: str = "PACS", **profile: str) -> Endpoint:
        address = archive.address if protocol == "dicom" else archive.url
        values: dict[str, Any] = {
            "protocol": protocol, "address": address, "ae_title": archive.ae_title,
            "profile": {"secret": "RIS_PARTNER_PACS", **profile},
        }  # fmt: skip
        return configure_endpoint(name, values, by=system_user("shell"))

    return make


def images(
    archive: Archive, exam: Exam, count: int = 2, series: int = 1, **changes: Any
) -> list[tuple[str, str]]:
    """Store small images of the exam's study; (series, instance) of each."""
    stored = []
    patient = exam.order.patient
    for _ in range(series):
        series_uid = generate_uid()
        for number in range(count):
            ds = Dataset()
            ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", generate_uid()
            ds.StudyInstanceUID, ds.SeriesInstanceUID = exam.procedure.study_instance_uid, series_uid
            ds.PatientID, ds.PatientName = patient.mrn, f"{patient.family}^{patient.given}"
            ds.IssuerOfPatientID = "HARBOUR"
            ds.PatientBirthDate = patient.birth_date.replace("-", "")
            ds.AccessionNumber, ds.Modality, ds.InstanceNumber = exam.order.accession_number, "CT", number
            ds.StudyDate, ds.StudyDescription, ds.StudyID = "20260105", "CT head", "1"
            for keyword, value in changes.items():
                setattr(ds, keyword, value)
            archive.store(
                scu.envelope(scu.encoded(ds), ds.SOPClassUID, ds.SOPInstanceUID, "1.2.840.10008.1.2.1")
            )
            stored.append((series_uid, ds.SOPInstanceUID))
    return stored


@pytest.mark.parametrize("protocol", ["dicom", "dicomweb"])
def test_the_images_of_recent_exams_are_asked_for_until_all_are_there(
    pacs: Pacs, archive: Archive, protocol: str
) -> None:
    """RAD-11 IAN-03 MPPS-22: by C-FIND or QIDO-RS; what the modality named is counted one by one."""
    exam, other = make_exam(), make_exam()
    pacs(protocol, ask_images="yes")
    now = timezone.now()
    assert asking.ask_for_images(now) == 0
    stored = images(archive, exam, count=3, series=2)
    assert asking.ask_for_images(now) == 1
    known = StudyImages.objects.get(study_instance_uid=exam.procedure.study_instance_uid)
    assert (known.procedure, known.series_count, known.instance_count) == (exam.procedure, 2, 6)
    assert (known.source, known.missing) == ({"dicom": "cfind", "dicomweb": "qido"}[protocol], None)
    assert asking.wanting_images(now) == [other], "each is asked for once a minute"

    named = [stored[0], ("1.2", "1.2.3.4.5")]
    exam.performed_steps.create(
        sop_instance_uid=generate_uid(), station_ae_title="CT1", modality="CT", started_at=now,
        study_instance_uid=exam.procedure.study_instance_uid,
        attributes={"00400340": {"Value": [
            {"0020000E": {"Value": [series]}, "00081140": {"Value": [
                {"00081150": {"Value": ["1.2.840.10008.5.1.4.1.1.7"]}, "00081155": {"Value": [instance]}}]}}
            for series, instance in named]}},
    )  # fmt: skip
    assert asking.ask_for_images(now + timezone.timedelta(minutes=2)) == 1
    known.refresh_from_db()
    assert (known.missing, len(known.instances)) == (1, 6)


def test_a_study_under_the_modalitys_own_uid_is_found_by_accession_number(
    pacs: Pacs, archive: Archive
) -> None:
    """RAD-11: but never another patient's under the same number."""
    exam, other = make_exam(), make_exam()
    pacs(ask_images="yes")
    own, foreign = generate_uid(), generate_uid()
    images(archive, exam, StudyInstanceUID=own)
    images(archive, other, StudyInstanceUID=foreign, PatientID="NOBODY")
    assert asking.ask_for_images(timezone.now()) == 1
    assert StudyImages.objects.get().study_instance_uid == own
    assert StudyImages.objects.get().procedure == exam.procedure
    pacs(name="VIEWER", viewer="https://v.example/{study_uid}")
    assert viewer.address_of(exam) == f"https://v.example/{own}"


@pytest.mark.parametrize("protocol", ["dicom", "dicomweb"])
def test_priors_are_those_of_the_patient_by_every_number(pacs: Pacs, archive: Archive, protocol: str) -> None:
    """SCN-23: the same number of another authority is another patient."""
    patient = make_patient("Priors", "Paula")
    exam = make_exam(make_order(patient))
    patient.identifiers.create(value=f"B{patient.mrn}", authority="BAY", type="MR")
    uids = {name: generate_uid() for name in ("ours", "old", "foreign", "unnamed", "another")}
    images(archive, exam)
    common = {
        "AccessionNumber": "X1",
        "StudyDescription": "MR knee",
        "ModalitiesInStudy": None,
        "Modality": "MR",
    }
    common.pop("ModalitiesInStudy")
    images(archive, exam, StudyInstanceUID=uids["old"], PatientID=f"B{patient.mrn}", IssuerOfPatientID="BAY",
           StudyDate="20190302", **common)  # fmt: skip
    images(archive, exam, StudyInstanceUID=uids["foreign"], IssuerOfPatientID="ELSEWHERE", **common)
    images(
        archive, exam, StudyInstanceUID=uids["unnamed"], IssuerOfPatientID="", StudyDate="20180302", **common
    )
    images(
        archive,
        exam,
        StudyInstanceUID=uids["another"],
        IssuerOfPatientID="",
        PatientName="Else^Eva",
        **common,
    )
    pacs(protocol, priors="yes")
    found = priors.of(exam)
    assert [(str(one.day), one.description, one.images) for one in found.priors] == [
        ("2026-01-05", "CT head", 2), ("2019-03-02", "MR knee", 2), ("2018-03-02", "MR knee", 2),
    ]  # fmt: skip
    assert [one.exam for one in found.priors] == [exam, None, None]
    assert (found.silent, found.asked) == ([], True)


def test_the_page_stands_although_the_archive_does_not_answer(client: Client, pacs: Pacs) -> None:
    exam = make_exam()
    pacs(priors="yes")
    configure_endpoint("PACS", {"address": "127.0.0.1:9"}, by=system_user("shell"))
    client.force_login(person("rita"))
    assert f"/exams/{exam.pk}/archive-studies" in client.get(f"/exams/{exam.pk}").text
    page = client.get(f"/exams/{exam.pk}/archive-studies")
    assert page.status_code == 200
    assert "PACS does not answer." in page.text


def test_a_secret_that_cannot_be_read_is_said_in_a_sentence(
    pacs: Pacs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RIS_PARTNER_PACS_FILE", "/nowhere")
    pacs("dicomweb", priors="yes")
    assert priors.of(make_exam()).silent == ["PACS does not answer."]


def test_images_open_in_the_sites_viewer_and_the_look_is_noted(client: Client, pacs: Pacs) -> None:
    """TX-27 (RAD-106): the address by the site's template; a viewer of the exam's facility goes first."""
    exam = make_exam()
    client.force_login(person("rita"))
    assert client.get(f"/exams/{exam.pk}/images").status_code == 404
    pacs("dicomweb", viewer="https://everywhere.example/{accession}")
    pacs(
        name="HERE", viewer_facility=exam.order.facility.code,
        viewer="https://v.example/IHEInvokeImageDisplay?requestType=STUDY&studyUID={study_uid}&patientID={patient_id}",
    )  # fmt: skip
    answer = client.get(f"/exams/{exam.pk}/images")
    uid, mrn = exam.procedure.study_instance_uid, exam.order.patient.mrn
    assert answer.status_code == 302
    assert answer["Location"] == (
        f"https://v.example/IHEInvokeImageDisplay?requestType=STUDY&studyUID={uid}&patientID={mrn}"
    )
    assert AuditEvent.objects.filter(action="images.opened", patient=exam.order.patient_id).exists()
    assert f'href="/exams/{exam.pk}/images"' in client.get(f"/exams/{exam.pk}").text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--protocol", "dicom", "--address", "pacs:104"), "called by its AE title"),
        (("--protocol", "dicomweb", "--address", "pacs:104"), "The address is a URL"),
        (
            ("--protocol", "dicomweb", "--address", "https://pacs/web", "--profile", "secret=RIS_SECRET_KEY"),
            "secret ",
        ),
        (
            (
                "--protocol",
                "dicomweb",
                "--address",
                "https://pacs/web",
                "--profile",
                "viewer=javascript:alert(1)",
            ),
            "viewer ",
        ),
        (
            ("--protocol", "dicom", "--address", "pacs:104", "--ae-title", "PACS", "--facts", "images"),
            "Facts are",
        ),
        (
            ("--protocol", "dicomweb", "--address", "https://pacs/web", "--facts", "performed_steps"),
            "cannot carry",
        ),
    ],
)
def test_an_archive_that_could_not_work_is_refused_in_a_sentence(
    db: None, arguments: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(CommandError, match=sentence):
        call_command("endpoint", "PACS", *arguments)
