"""What a machine did and no order was found for."""

from datetime import datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ris.events.models import Event
from ris.exams.actions import (
    NewImages,
    NewPerformedStep,
    PerformedChange,
    ScheduledReference,
    begin_performed_step,
    complete_performed_step,
    note_images,
)
from ris.exams.models import Exam, PerformedProcedureStep
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def theo(client: Client) -> Client:
    client.force_login(person("theo"))
    return client


def _step(
    uid: str = "1.2.3", at: datetime | None = None, *, study: str = "", modality: str = "CT", **fields: Any
) -> PerformedProcedureStep:
    makers.make_room()
    references = (ScheduledReference(study),) if study else ()
    return begin_performed_step(
        NewPerformedStep(
            uid, "CT1", modality, at or timezone.now(), references, patient_name="OKAFOR^A", **fields
        ),
        by=person("epic"),
    )


def test_what_fits_no_order_waits_on_the_list(theo: Client) -> None:
    assert "Every exam has its order." in theo.get("/exams/unmatched").content.decode()
    step = _step(patient_id="77")
    page = theo.get("/exams/unmatched").content.decode()
    assert "OKAFOR^A" in page
    assert step.problem in page
    assert "1 without an order" in theo.get("/rooms").content.decode()


def test_the_likely_order_is_offered_and_matching_starts_it(theo: Client) -> None:
    order = makers.make_order(patient=makers.make_patient(mrn="004417268"))
    step = _step(patient_id="004417268")
    page = theo.get(f"/exams/unmatched/{step.pk}").content.decode()
    assert "Match to OKAFOR, Adaeze" in page
    assert theo.post(f"/exams/unmatched/{step.pk}", {"order": order.pk}).status_code == 303
    step.refresh_from_db()
    assert step.problem == ""
    assert Exam.objects.get(order=order).status == "in_progress"
    assert theo.post(f"/exams/unmatched/{step.pk}", {"order": order.pk}).status_code == 409


def test_a_step_that_is_over_completes_its_order(theo: Client) -> None:
    order = makers.make_order()
    step = _step()
    complete_performed_step(
        step.sop_instance_uid, PerformedChange(ended_at=timezone.now()), by=person("epic")
    )
    theo.post(f"/exams/unmatched/{step.pk}", {"order": order.pk})
    order.refresh_from_db()
    assert order.status == "performed"


@pytest.mark.parametrize("typed", ["mrn", "accession", "oka ada"])
def test_orders_are_searched_by_number_or_name(theo: Client, typed: str) -> None:
    order = makers.make_order(patient=makers.make_patient(mrn="004417268"))
    text = {"mrn": "004 417 268", "accession": order.accession_number}.get(typed, typed)
    found = theo.post(f"/exams/unmatched/{_step().pk}/orders", {"q": text}).content.decode()
    assert f'data-value="{order.pk}"' in found
    none = theo.post(f"/exams/unmatched/{_step('1.9').pk}/orders", {"q": "zzz"}).content.decode()
    assert "No open order matches" in none


def test_nothing_is_matched_to_an_ended_order(theo: Client) -> None:
    exam = makers.make_report(signed=True).reported.get().exam
    step = _step()
    response = theo.post(f"/exams/unmatched/{step.pk}", {"order": exam.order_id})
    assert response.status_code == 409
    assert "That order is final. Its report is signed" in response.content.decode()
    assert theo.post(f"/exams/unmatched/{step.pk}", {"order": ""}).status_code == 409
    step.refresh_from_db()
    assert step.problem


def test_a_phantom_is_taken_off_the_list_with_a_reason(theo: Client) -> None:
    step = _step()
    assert theo.post(f"/exams/unmatched/{step.pk}/discard", {"reason": ""}).status_code == 422
    assert theo.post(f"/exams/unmatched/{step.pk}/discard", {"reason": "Phantom"}).status_code == 303
    step.refresh_from_db()
    assert step.problem == ""
    assert Event.objects.get(kind="performed_step.discarded").facts["reason"] == "Phantom"


def test_a_study_only_the_archive_knows_is_matched_or_set_aside(theo: Client) -> None:
    images = note_images(
        NewImages("1.2.840.7", source="ian", instance_count=12, series_count=2, patient_name="SILVA^M"),
        by=person("epic"),
    )
    page = theo.get("/exams/unmatched").content.decode()
    assert "SILVA^M" in page
    assert "2 series · 12 images" in page
    url = f"/exams/studies/{images.pk}"
    assert theo.post(f"{url}/discard", {"reason": ""}).status_code == 422
    theo.post(f"{url}/discard", {"reason": "Phantom"})
    assert "SILVA^M" not in theo.get("/exams/unmatched").content.decode()
    theo.post(f"{url}/restore")
    order = makers.make_order()
    assert theo.post(url, {"order": order.pk}).status_code == 303
    order.refresh_from_db()
    assert order.status == "performed"
    assert theo.post(url, {"order": order.pk}).status_code == 409


def test_an_order_is_born_for_images_that_exist(theo: Client) -> None:
    """MPPS-10: patient, exam and side are asked for; the images keep their study."""
    step = _step("1.2.9", study="1.2.840.8")
    hand = makers.make_procedure_type("CTHAND", name="CT hand", laterality="required")
    patient = makers.make_patient("Silva", mrn="77")
    found = theo.post("/exams/unmatched/patients", {"q": "silva"}).content.decode()
    assert f'data-value="{patient.pk}"' in found
    url = f"/exams/unmatched/{step.pk}/order"
    assert "Pick the patient." in theo.post(url, {}).content.decode()
    asked = {"patient": patient.pk, "procedure": hand.pk, "reason": "Trauma"}
    assert "Pick the side" in theo.post(url, asked).content.decode()
    assert theo.post(url, {**asked, "side": "L"}).status_code == 303
    procedure = Exam.objects.get().procedure
    assert (procedure.study_instance_uid, procedure.side) == ("1.2.840.8", "L")
    assert procedure.order.patient == patient


def test_a_match_and_a_discard_are_undone(theo: Client) -> None:
    order = makers.make_appointment().order
    step = _step()
    theo.post(f"/exams/unmatched/{step.pk}", {"order": order.pk})
    assert theo.post(f"/exams/unmatched/{step.pk}/undo").status_code == 303
    order.refresh_from_db()
    assert order.status == "scheduled"
    theo.post(f"/exams/unmatched/{step.pk}/discard", {"reason": "Phantom"})
    theo.post(f"/exams/unmatched/{step.pk}/restore")
    step.refresh_from_db()
    assert step.problem == "Its match was taken back."


def test_what_is_taken_for_an_exam_can_be_left_or_moved(theo: Client) -> None:
    """MPPS-15, MPPS-16: another machine than planned is left with a reason; another patient's goes to theirs."""
    order = makers.make_appointment().order
    study = order.procedures.get().study_instance_uid
    step = _step(study=study, modality="MR")
    page = theo.get(f"/exams/unmatched/{step.pk}").content.decode()
    assert "It is right as it is" in page
    assert "Taken for" in page
    right = makers.make_order(makers.make_patient("Right"))
    url = f"/exams/steps/{step.pk}/reassign"
    assert "Pick the order" in theo.post(url, {"order": "", "reason": "x"}).content.decode()
    assert theo.post(url, {"order": right.pk, "reason": "Wrong entry"}).status_code == 303
    order.refresh_from_db()
    right.refresh_from_db()
    assert (order.status, right.status) == ("scheduled", "in_progress")


def test_a_moved_image_never_changes_a_signed_report(theo: Client) -> None:
    order = makers.make_appointment().order
    step = _step(study=order.procedures.get().study_instance_uid)
    complete_performed_step("1.2.3", PerformedChange(ended_at=timezone.now()), by=person("epic"))
    exam = Exam.objects.get()
    url = f"/exams/steps/{step.pk}/reassign"
    assert url in theo.get(f"/exams/{exam.pk}").content.decode()
    makers.make_report(exam, signed=True)
    right = makers.make_order(makers.make_patient("Right"))
    refused = theo.post(url, {"order": right.pk, "reason": "Wrong entry"})
    assert refused.status_code == 422
    assert "The radiologist withdraws it" in refused.content.decode()
    right.refresh_from_db()
    assert right.status == "requested"


def test_the_list_asks_the_database_as_often_for_ten_as_for_one(
    theo: Client,
) -> None:
    counts = []
    theo.get("/exams/unmatched")
    for number in (1, 10):
        for one in range(number):
            _step(f"1.5.{number}.{one}")
            note_images(NewImages(f"1.6.{number}.{one}", source="ian"), by=person("epic"))
        with CaptureQueriesContext(connection) as queries:
            theo.get("/exams/unmatched")
        counts.append(len(queries))
    assert counts[0] == counts[1]
