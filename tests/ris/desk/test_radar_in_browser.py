"""The radar and the modalities as people work them: put right by one click, snoozed, explained."""

from datetime import timedelta
from random import Random

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from interfaces.seeds.twins import seed_twins
from ris.exams import actions as exams
from ris.exams.actions import NewImages, set_completion_rule
from ris.exams.models import Exam
from tests import makers
from tests.browser import OpenAs, accessibility_faults, photograph
from tests.cast import person

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.django_db(transaction=True)]


@pytest.fixture
def late() -> Exam:
    """An exam that never ended with its images in the archive, one nobody reads, an order nobody booked."""
    now = timezone.now()
    makers.make_order(makers.make_patient("Lindqvist", "Sara"), ordered_at=now - timedelta(days=16))
    makers.make_order(
        makers.make_patient("Moreau", "Lise"), priority="stat", ordered_at=now - timedelta(hours=3)
    )
    makers.make_exam(makers.make_order(makers.make_patient("Ferrari", "Bruno")), completed=True)
    Exam.objects.update(ended_at=now - timedelta(days=2))
    exam = makers.make_exam()
    Exam.objects.filter(pk=exam.pk).update(started_at=now - timedelta(hours=3))
    exams.note_images(
        NewImages(exam.procedure.study_instance_uid, source="qido", series_count=3, instance_count=212), by=person("epic")
    )  # fmt: skip
    set_completion_rule("images", response="propose", minutes=0, by=person("ada"))
    return exam


def test_what_is_late_is_put_right_where_it_is_shown(open_as: OpenAs, late: Exam) -> None:
    page = open_as(person("mona"), "/radar")
    stat = page.get_by_role("row").nth(1)
    expect(stat).to_contain_text("MOREAU")
    expect(page.get_by_role("link", name="Radar").first).to_contain_text("3 need action")
    row = page.get_by_role("row").filter(has_text="Never ended")
    expect(row).to_contain_text("212 images in the archive since")
    assert accessibility_faults(page) == []
    photograph(page, "radar")
    row.get_by_role("button", name="Complete it").click()
    expect(page.get_by_role("status").filter(has_text="is complete.")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="Never ended")).to_have_count(0)
    late.refresh_from_db()
    assert (late.status, late.image_count) == ("completed", 212)

    page.get_by_role("row").filter(has_text="LINDQVIST").get_by_role("link", name="Snooze").click()
    page.get_by_label("Why it can wait").fill("Patient is abroad until Friday")
    assert accessibility_faults(page) == []
    page.get_by_role("button", name="Snooze").click()
    expect(page.get_by_role("row").filter(has_text="LINDQVIST")).to_have_count(0)
    page.get_by_role("link", name="Snoozed").click()
    expect(page.get_by_role("row").filter(has_text="LINDQVIST")).to_contain_text(
        "Patient is abroad until Friday"
    )
    dark = open_as(person("rita"), "/radar", theme="reading")
    expect(dark.get_by_role("row").filter(has_text="FERRARI")).to_contain_text(
        "nobody has begun to read them"
    )
    assert accessibility_faults(dark) == []
    photograph(dark, "radar-reading")
    rules = open_as(person("ada"), "/radar/rules", theme="light")
    rules.get_by_role("link", name="Change Not read").click()
    rules.get_by_label("STAT, minutes").fill("30")
    assert accessibility_faults(rules) == []
    rules.get_by_role("button", name="Save").click()
    expect(rules.get_by_role("row").filter(has_text="Every site")).to_contain_text("30 min")
    photograph(rules, "radar-rules")


def test_a_machine_is_seen_through_and_an_exam_that_it_does_not_show_is_explained(open_as: OpenAs) -> None:
    appointment = makers.make_appointment(start=makers.next_hour(30))
    makers.make_room("MG1", "MG")
    seed_twins(Random(4), timezone.now())
    page = open_as(person("mona"), "/admin/modalities")
    expect(page.get_by_role("row").nth(1)).to_contain_text("Silent")
    expect(page.get_by_role("row").filter(has_text="NEWARM1")).to_contain_text("Refused")
    assert accessibility_faults(page) == []
    photograph(page, "modalities")
    page.get_by_role("link", name="CT1").click()
    page.get_by_label("Accession number or patient").fill(appointment.order.accession_number)
    page.get_by_role("button", name="Explain").click()
    why = page.get_by_role("article")
    expect(why).to_contain_text("Not on its list")
    expect(
        why.get_by_role("listitem").filter(has_text="Scheduled Procedure Step Start Date")
    ).to_contain_text("It asks for")
    photograph(page, "modality-why")
    page.get_by_role("button", name="Ask as this machine").click()
    expect(
        page.get_by_role("status").filter(has_text="Our DICOM services have not been started yet")
    ).to_be_visible()
    assert accessibility_faults(page) == []
    photograph(page, "modality")
    dark = open_as(person("mona"), page.url, theme="reading")
    assert accessibility_faults(dark) == []
    photograph(dark, "modality-reading")
    added = open_as(person("ada"), "/admin/modalities", theme="light")
    added.get_by_role("link", name="Add as station NEWARM1").click()
    expect(added.get_by_label("AE title")).to_have_value("NEWARM1")
    added.get_by_label("Room").select_option("CT 1")
    added.get_by_label("Modality", exact=True).select_option("XA")
    added.get_by_role("button", name="Let it in").click()
    expect(added.get_by_role("heading", name="NEWARM1")).to_be_visible()
