"""Images without an order, as a technologist deals with them."""

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from ris.exams.actions import (
    NewImages,
    NewPerformedStep,
    PerformedChange,
    ScheduledReference,
    begin_performed_step,
    complete_performed_step,
    note_images,
)
from ris.exams.models import Exam
from tests import makers
from tests.browser import OpenAs, accessibility_faults, photograph
from tests.cast import person

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.django_db(transaction=True)]


def test_an_exam_before_its_order_is_ordered_from_the_list(open_as: OpenAs) -> None:
    """MPPS-10, SCN-05: the row, its sheet, patient and exam by a few letters, and a way back from a match."""
    makers.make_room()
    makers.make_procedure_type()
    makers.make_patient("Silva", "Marta", mrn="004417268")
    planned = makers.make_appointment(makers.make_order(makers.make_patient("Lindqvist", "Erik"))).order
    begin_performed_step(
        NewPerformedStep(
            "1.2.3", "CT1", "CT", timezone.now(), (ScheduledReference("1.2.840.3"),), patient_name="TRAUMA^TWO"
        ),
        by=person("epic"),
    )  # fmt: skip
    complete_performed_step("1.2.3", PerformedChange(ended_at=timezone.now()), by=person("epic"))
    taken = ScheduledReference(planned.procedures.get().study_instance_uid)
    begin_performed_step(
        NewPerformedStep("1.2.4", "CT1", "MR", timezone.now(), (taken,), patient_name="LINDQVIST^ERIK"),
        by=person("epic"),
    )
    note_images(
        NewImages("1.2.840.9", source="ian", series_count=3, instance_count=212, retrieve_ae_title="PACS", modality="MR",
                  patient_name="DOE^JOHN"), by=person("epic"),
    )  # fmt: skip
    page = open_as(person("theo"), "/exams/unmatched")
    for word in ("TRAUMA^TWO", "LINDQVIST^ERIK", "DOE^JOHN"):
        expect(page.get_by_text(word)).to_be_visible()
    photograph(page, "unmatched")
    assert accessibility_faults(page) == []
    page.get_by_role("row", name="TRAUMA^TWO").get_by_role("link", name="Match…").click()
    sheet = page.locator("#sheet")
    expect(sheet.get_by_label("Why no order is needed")).to_be_visible()
    photograph(page, "unmatched-match")
    assert accessibility_faults(page) == []
    sheet.get_by_role("link", name="Create the order here…").click()
    sheet.get_by_role("combobox", name="Patient").press_sequentially("silva", delay=250)
    sheet.get_by_role("option", name="SILVA").click()
    sheet.get_by_role("combobox", name="Exam").press_sequentially("ct he", delay=250)
    sheet.get_by_role("option", name="CT head").click()
    sheet.get_by_label("Reason").fill("Fall from a ladder")
    photograph(page, "unmatched-order-here")
    assert accessibility_faults(page) == []
    sheet.get_by_role("button", name="Create and match").click()
    expect(page.get_by_text("is placed and matched.")).to_be_visible()
    expect(page.get_by_text("TRAUMA^TWO")).not_to_be_visible()
    assert Exam.objects.get(order__patient__family="Silva").procedure.study_instance_uid == "1.2.840.3"
