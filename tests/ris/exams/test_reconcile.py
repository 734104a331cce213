"""What a machine did and no order was found for."""

from datetime import datetime
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from ris.events.models import Event
from ris.exams.actions import NewPerformedStep, PerformedChange, begin_performed_step, complete_performed_step
from ris.exams.models import Exam, PerformedProcedureStep
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def theo(client: Client) -> Client:
    client.force_login(person("theo"))
    return client


def _step(uid: str = "1.2.3", at: datetime | None = None, **fields: Any) -> PerformedProcedureStep:
    makers.make_room()
    return begin_performed_step(
        NewPerformedStep(uid, "CT1", "CT", at or timezone.now(), (), patient_name="OKAFOR^A", **fields),
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
