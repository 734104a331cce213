"""The radiologist's part: list, report, keys; looked at in both themes."""

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from ris.exams.models import Exam
from ris.patients.actions import NewVisit, open_visit
from ris.reporting import actions as reporting
from ris.reporting.models import Draft, Report, ReportPart
from ris.reporting.sections import FINDINGS, IMPRESSION, text_of
from ris.reporting.templates_data import add_default_templates
from tests import makers
from tests.browser import OpenAs, accessibility_faults, faults_in_both_themes, photograph
from tests.cast import person

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.django_db(transaction=True)]

_KINDS = {
    "head": ("CT-HEAD", "CT head without contrast", "CT", "Head", "none"),
    "abdomen": ("CT-ABPELC", "CT abdomen and pelvis with contrast", "CT", "Abdomen and pelvis", "none"),
    "knee": ("MR-KNEE", "MR knee", "MR", "Knee", "required"),
    "chest": ("XR-CHEST2", "XR chest, two views", "DX", "Chest", "none"),
}
_CASES = [
    ("Samuels", "Grace", "F", "1965-02-03", "head", "stat", 54, "E"),
    ("Klein", "Otto", "M", "1997-05-01", "chest", "stat", 41, "E"),
    ("Duarte", "Silvia", "F", "1982-04-03", "abdomen", "asap", 216, "I"),
    ("Green", "Tobias", "M", "1987-01-09", "head", "asap", 209, "I"),
    ("Roy", "Devan", "M", "1974-03-03", "abdomen", "asap", 202, "O"),
    ("Kowalski", "Ewa", "F", "1991-07-07", "knee", "routine", 1368, "O"),
    ("Sato", "Kenji", "M", "1956-09-09", "chest", "routine", 1340, "O"),
    ("Mbeki", "Thandi", "F", "1993-10-10", "abdomen", "routine", 1315, "O"),
    ("Lindqvist", "Per", "M", "1960-11-11", "abdomen", "routine", 1290, "O"),
    ("Andersson", "Maja", "F", "1999-12-12", "knee", "routine", 1289, "O"),
]


def _exam(
    family: str, given: str, sex: str, born: str, kind: str, priority: str, ago: int, place: str
) -> Exam:
    code, name, modality, body_part, rule = _KINDS[kind]
    patient = makers.make_patient(family, given, sex=sex, birth_date=born, prefix="Mrs" if sex == "F" else "")
    visit = open_visit(
        patient, NewVisit(f"V{patient.pk}", "HARBOUR", patient_class=place, location="4 East" if place == "I" else ""),
        by=person("clara"),
    )  # fmt: skip
    order = makers.make_order(
        patient=patient,
        visit=visit,
        priority=priority,
        side="L" if rule == "required" else "",
        procedure_type=makers.make_procedure_type(
            code, name=name, modality=modality, body_part=body_part, laterality=rule
        ),
        reason="3 days right upper quadrant pain, fever 38.6. Known liver cyst. Collection?",
    )
    exam = makers.make_exam(order, completed=True)
    moment = timezone.now() - timedelta(minutes=ago)
    Exam.objects.filter(pk=exam.pk).update(started_at=moment - timedelta(minutes=20), ended_at=moment)
    return exam


@pytest.fixture
def department(db: None) -> dict[str, Exam]:
    """Ten cases in every state, the mock-up's among them, with a prior."""
    add_default_templates(person("ada"))
    cases = {row[0]: _exam(*row) for row in _CASES}
    duarte = cases["Duarte"].order
    for impression in ("No acute finding. Simple hepatic cyst, no follow-up needed.", "Normal."):
        prior = makers.make_exam(
            makers.make_order(patient=duarte.patient, procedure_type=makers.make_procedure_type("CT-ABPELC")),
            completed=True,
        )
        ago = timezone.now() - timedelta(days=250 if "cyst" in impression else 700)
        Exam.objects.filter(pk=prior.pk).update(started_at=ago, ended_at=ago)
        report = makers.make_report(prior, impression=impression)
        words = [
            {
                **one,
                "text": "Liver: Simple cyst in segment 7, 14 × 12 mm.\nBiliary: No ductal dilatation.\nSpleen: Normal.",
            }
            if one["code"] == FINDINGS[0]
            else {**one, "text": one["text"].replace("[contrast and dose]", "90 mL")}
            for one in report.draft.sections
        ]
        draft = reporting.save_draft(report, words, version=report.draft.version, by=person("rita"))  # type: ignore[arg-type]
        reporting.sign_report(report, version=draft.version, by=person("rita"))
    reporting.open_report(cases["Roy"], by=person("rene"))
    released = reporting.open_report(cases["Lindqvist"], by=person("rene"))
    words = [
        {**one, "text": one["text"].replace("[", "").replace("]", "")} for one in released.draft.sections
    ]
    draft = reporting.save_draft(released, words, version=1, by=person("rene"))  # type: ignore[arg-type]
    reporting.make_preliminary(released, version=draft.version, by=person("rene"))
    reporting.release_lease(released, by=person("rene"))
    return cases


def test_a_case_is_read_saved_and_signed_by_keyboard_and_the_next_opens(
    open_as: OpenAs, department: dict[str, Exam]
) -> None:
    page = open_as(person("rita"), "/reading?m=CT")
    expect(page.locator("tbody tr").first).to_contain_text("SAMUELS, Grace")
    photograph(page, "reading-list")
    page.keyboard.press("j")
    expect(page.locator("tr[data-current]")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator(".banner")).to_contain_text("SAMUELS, Grace")
    page.keyboard.press("Control+Enter")  # a normal study: two keys
    expect(page.locator(".banner")).to_contain_text("DUARTE, Silvia")
    signed = ReportPart.objects.get(report__reported__exam=department["Samuels"])
    assert (signed.signed_by, text_of(signed.sections, IMPRESSION)) == (person("rita"), "No acute finding.")

    report = Report.objects.get(reported__exam=department["Duarte"])
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("fields are open")).to_be_visible()
    page.keyboard.press("F2")
    page.keyboard.type("90 mL iohexol 350")
    page.keyboard.press("Tab")
    assert page.evaluate("getSelection().toString()") == "[stones: none / describe]"
    photograph(page, "report-open-field")
    page.keyboard.type("No stones.")
    expect(page.locator("#checks")).to_contain_text("No open field")
    impression = page.get_by_label("Impression")
    impression.focus()
    words = "1. Liver abscess, segment 7, 24 mm; arises in the cyst seen before.\n2. Portal vein patent. No free fluid."
    with page.expect_response(lambda one: "Liver abscess" in (one.request.post_data or ""), timeout=6000):
        impression.fill(words)  # saved 3 s after the last key
    expect(page.locator("[data-saved]")).to_contain_text("saved")
    assert "Liver abscess" in text_of(Draft.objects.get(report=report).sections, IMPRESSION)
    photograph(page, "report")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".banner")).to_contain_text("GREEN, Tobias")
    part = ReportPart.objects.get(report=report)
    assert "Kidneys: Symmetric. No stones." in text_of(part.sections, FINDINGS)
    assert text_of(part.sections, IMPRESSION).startswith("1. Liver abscess")


def test_a_click_on_sign_right_after_typing_is_no_conflict(
    open_as: OpenAs, department: dict[str, Exam]
) -> None:
    report = reporting.open_report(department["Sato"], by=person("rita"))
    page = open_as(person("rita"), f"/reports/{report.pk}")
    page.get_by_label("Impression").fill("Pneumonia.")
    page.get_by_role("button", name="Sign + next").click()
    expect(page.get_by_text("SATO, Kenji is signed.")).to_be_visible()
    assert text_of(ReportPart.objects.get(report=report).sections, IMPRESSION) == "Pneumonia."


def test_the_other_side_is_shown_as_one_types_and_does_not_stop(
    open_as: OpenAs, department: dict[str, Exam]
) -> None:
    report = reporting.open_report(department["Kowalski"], by=person("rita"))
    page = open_as(person("rita"), f"/reports/{report.pk}")
    page.get_by_label("Impression").fill("Tear of the right medial meniscus.")
    expect(page.locator("#checks")).to_contain_text("Says right, exam is left")
    expect(page.locator(".under mark").last).to_have_text("right")
    photograph(page, "report-side")
    page.get_by_label("Impression").fill("Tear of the left medial meniscus.")
    expect(page.locator("#checks")).to_contain_text("Side left")


def test_a_second_tab_is_told_and_nothing_is_lost(open_as: OpenAs, department: dict[str, Exam]) -> None:
    report = reporting.open_report(department["Sato"], by=person("rita"))
    first, second = (open_as(person("rita"), f"/reports/{report.pk}") for _ in range(2))
    first.get_by_label("Impression").fill("First.")
    first.get_by_label("Impression").blur()
    expect(first.locator("[data-saved]")).to_contain_text("saved")
    first.wait_for_function("document.querySelector('[name=version]').value === '2'")
    second.get_by_label("Impression").fill("Second.")
    second.get_by_label("Impression").blur()
    expect(second.get_by_text("This text was changed in another window")).to_be_visible()
    second.keyboard.press("Control+Enter")
    expect(second.get_by_role("button", name="Keep mine")).to_be_visible()
    photograph(second, "report-conflict")
    assert accessibility_faults(second) == []
    second.get_by_role("button", name="Keep mine").click()
    expect(second.get_by_text("Your text is kept.")).to_be_visible()
    assert text_of(Draft.objects.get(report=report).sections, IMPRESSION) == "Second."


def test_an_addendum_is_written_by_key(open_as: OpenAs, department: dict[str, Exam]) -> None:
    report = Report.objects.filter(status="final").latest("pk")
    page = open_as(person("rita"), f"/reports/{report.pk}")
    page.keyboard.press("Shift+A")
    page.get_by_role("textbox", name="Addendum").fill("Told Dr Lindgren by phone.")
    photograph(page, "report-addendum")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("DUARTE, Silvia is signed.")).to_be_visible()
    report.refresh_from_db()
    assert report.status == "addended"


def test_the_list_says_by_itself_who_took_a_case(open_as: OpenAs, department: dict[str, Exam]) -> None:
    page = open_as(person("rita"), "/reading")
    row = page.locator(f"#case-{department['Green'].pk}")
    expect(row).to_contain_text("Unread")
    reporting.open_report(department["Green"], by=person("rene"))
    expect(row).to_contain_text("Rene Resident")
    expect(page.locator("#view-drafts")).to_contain_text("2")


def test_the_readers_pages_can_be_read_by_everybody(open_as: OpenAs, department: dict[str, Exam]) -> None:
    rita = person("rita")
    writing = reporting.open_report(department["Duarte"], by=rita)
    taken = Report.objects.get(reported__exam=department["Roy"])
    withdrawn, signed = Report.objects.filter(status="final").order_by("pk")
    reporting.withdraw_report(withdrawn, "wrong_exam", words="Dictated on the wrong study", by=rita)
    for path, name in (
        ("/reading", "reading-list"), ("/reading?v=addenda", "reading-empty"), (f"/reports/{writing.pk}", "report"),
        (f"/reports/{taken.pk}", "report-taken"), (f"/reports/{signed.pk}", "report-signed"),
        (f"/reports/{signed.pk}/withdraw", "report-withdraw"), (f"/reports/{withdrawn.pk}", "report-withdrawn"),
    ):  # fmt: skip
        page = open_as(rita, path, theme="light")
        assert faults_in_both_themes(page, name) == [], path
        page.close()
    page = open_as(person("clara"), f"/reports/{signed.pk}", theme="light")
    assert faults_in_both_themes(page, "report-desk") == []
