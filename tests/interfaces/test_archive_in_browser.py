"""The archive as people meet it: the object that was sent, masked, and the patient's studies on the exam's pages."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from interfaces.actions import configure_endpoint
from interfaces.dicom import queue
from interfaces.models import KeyImages, OutboundMessage, ReceivedDataset
from ris.accounts.models import system_user
from ris.events.outbox import relay_all
from ris.exams.models import Exam
from tests import makers
from tests.browser import OpenAs, accessibility_faults, photograph
from tests.cast import person
from tests.interfaces.dicom.test_asking_the_archive import images
from tests.peers import archive as peer
from tests.peers.archive import Archive

pytestmark = [
    pytest.mark.peer("chromium", "orthanc", "orthanc-dicomweb"),
    pytest.mark.django_db(transaction=True),
]


@pytest.fixture
def archive() -> Iterator[Archive]:
    with peer.running() as running:
        yield running


def _picked(exam: Exam) -> None:
    dataset = ReceivedDataset.keep(
        calling_ae_title="CT1", peer="", operation="C-STORE", sop_class_uid="1.2", sop_instance_uid="1.2.3",
        transfer_syntax_uid="1.2.840.10008.1.2", raw=b"",
    )  # fmt: skip
    KeyImages.keep(
        dataset=dataset, sop_instance_uid="1.2.3", study_instance_uid=exam.procedure.study_instance_uid,
        title_code="113000", title="Of Interest", description="Largest diameter in series 3", images=[{}, {}],
    )  # fmt: skip


def test_the_archive_as_people_meet_it(archive: Archive, open_as: OpenAs) -> None:
    """SR-01 SR-07 TX-27: what was sent, what lies there, and the way to the images."""
    exam = makers.make_exam(completed=True, patient=makers.make_patient("Okafor", "Adaeze"))
    images(archive, exam, count=3)
    images(
        archive,
        exam,
        StudyInstanceUID="1.2.3.9",
        StudyDate="20190302",
        StudyDescription="MR knee, left",
        Modality="MR",
    )
    endpoint = configure_endpoint(
        "PACS",
        {"protocol": "dicom", "address": archive.address, "ae_title": archive.ae_title, "facts": ["results"],
         "profile": {"priors": "yes", "viewer": "https://viewer.example/?studyUID={study_uid}"}},
        by=system_user("shell"),
    )  # fmt: skip
    _picked(exam)
    report = makers.make_report(exam, signed=True)
    relay_all()
    queue.drain(endpoint.pk)

    page = open_as(person("theo"), f"/exams/{exam.pk}")
    expect(page.get_by_role("link", name="Images")).to_be_visible()
    expect(page.get_by_text("MR knee, left")).to_be_visible()
    expect(page.get_by_text("Largest diameter in series 3")).to_be_visible()
    assert accessibility_faults(page) == []
    photograph(page, "exam-archive")
    page.close()

    page = open_as(person("rita"), f"/reports/{report.pk}", theme="dark")
    expect(page.get_by_text("MR knee, left")).to_be_visible()
    assert accessibility_faults(page) == []
    photograph(page, "report-archive")
    page.close()

    message = OutboundMessage.objects.get(type="C-STORE SR")
    page = open_as(person("ada"), f"/interfaces/out/{message.pk}")
    expect(page.get_by_text("(0040,A493)")).to_be_visible()
    expect(page.get_by_label("Raw answer")).to_contain_text("0000")
    assert "Okafor" not in page.content()
    assert accessibility_faults(page) == []
    photograph(page, "message-object")
