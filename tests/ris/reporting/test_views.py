"""The reading list and the report, through their doors."""

import io
import re
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from pypdf import PdfReader
from pytest_django.fixtures import DjangoAssertNumQueries

from ris.audit.models import AuditEvent
from ris.events.models import Event
from ris.exams.models import Exam
from ris.reporting import actions as reporting
from ris.reporting.models import Draft, Report, ReportPart
from ris.reporting.sections import IMPRESSION, text_of
from ris.reporting.templates_data import add_default_templates
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def rita(client: Client) -> Client:
    client.force_login(person("rita"))
    return client


def _page(client: Client, url: str, status: int = 200) -> str:
    response = client.get(url)
    assert response.status_code == status, response.content[:500]
    return " ".join(response.content.decode().split())


def _exam(family: str = "Okafor", **fields: Any) -> Exam:
    patient = fields.pop("patient", None) or makers.make_patient(family)
    return makers.make_exam(makers.make_order(patient=patient, **fields), completed=True)


def _sent(report: Report, *, impression: str | None = None, **more: str) -> dict[str, str]:
    """What the page sends: every section, with another impression when given."""
    draft = Draft.objects.get(report=report)
    words = {f"text-{place}": one["text"] for place, one in enumerate(draft.sections)}
    if impression is not None:
        words[f"text-{[one['code'] for one in draft.sections].index(IMPRESSION[0])}"] = impression
    return {**words, "version": str(draft.version), **more}


# ---- the list


def test_what_is_due_first_stands_first(rita: Client) -> None:
    routine, urgent, stat = _exam("Abel"), _exam("Baker", priority="asap"), _exam("Cole", priority="stat")
    makers.make_report(_exam("Dunn"), signed=True)
    makers.make_exam(makers.make_order(patient=makers.make_patient("Elm")))
    page = _page(rita, "/reading")
    shown = [int(pk) for pk in re.findall(r'id="case-(\d+)"', page)]
    assert shown == [stat.pk, urgent.pk, routine.pk]
    assert "60 min" in page or "1 h" in page
    assert AuditEvent.objects.get(action="reading.list").details == {"count": 3}


def test_the_views_count_and_hold_what_they_say(rita: Client) -> None:
    mine = makers.make_report(_exam("Abel"))
    stat = _exam("Baker", priority="stat")
    released = makers.make_report(_exam("Cole"))
    reporting.make_preliminary(released, version=released.draft.version, by=person("rita"))
    addended = makers.make_report(_exam("Dunn"), signed=True)
    reporting.begin_addendum(addended, by=person("rita"))
    held = {
        view: {int(pk) for pk in re.findall(r'id="case-(\d+)"', _page(rita, f"/reading?v={view}"))}
        for view in ("mine", "all", "stat", "drafts", "preliminary", "addenda")
    }
    exam = {report: report.reported.get().exam_id for report in (mine, released, addended)}
    assert held == {
        "mine": {exam[mine], exam[released]}, "all": {exam[mine], stat.pk, exam[released]}, "stat": {stat.pk},
        "drafts": {exam[mine]}, "preliminary": {exam[released]}, "addenda": {exam[addended]},
    }  # fmt: skip
    page = _page(rita, "/reading?v=stat")
    for word, number in (
        ("Mine", 2),
        ("All", 3),
        ("STAT", 1),
        ("Drafts", 1),
        ("Preliminary", 1),
        ("Addenda", 1),
    ):
        assert f"{word} <b>{number}</b>" in page
    assert "Nothing here is waiting." in _page(rita, "/reading?m=MR")


def test_the_list_says_who_is_reading(client: Client) -> None:
    report = makers.make_report(_exam())
    client.force_login(person("rene"))
    page = _page(client, "/reading")
    assert "Rita Radiologist" in page
    assert f'href="/reports/{report.pk}"' in page
    assert "/read" not in page.split('id="case-')[1].split("</tr>")[0].replace("/reading", "")


def test_an_unchanged_list_answers_nothing_and_a_lock_changes_it(rita: Client) -> None:
    exam = _exam()
    version = (
        _page(rita, "/reading")
        .split('aria-label="Reading list"')[0]
        .split('data-live-version="')[-1]
        .split('"')[0]
    )
    live = {"X-Live": "1"}
    for url in ("/reading?", "/reading/pane?open=1&", "/reading/views?"):
        assert rita.get(f"{url}since={version}", headers=live).status_code == 204
    reporting.open_report(exam, by=person("rene"))
    for url in ("/reading?", "/reading/pane?open=1&", "/reading/views?"):
        changed = rita.get(f"{url}since={version}", headers=live)
        assert changed.status_code == 200
        assert b"<html" not in changed.content


def test_the_list_costs_the_same_however_long_it_is(
    rita: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    _exam("Abel")
    rita.get("/reading")
    with django_assert_num_queries(14, exact=False) as few:
        rita.get("/reading")
    for family in ("Baker", "Cole", "Dunn"):
        makers.make_report(_exam(family))
    with django_assert_num_queries(len(few.captured_queries), exact=False):
        rita.get("/reading")


# ---- reading and signing


def test_reading_an_exam_opens_its_report_once(rita: Client) -> None:
    exam = _exam()
    first = rita.post(f"/exams/{exam.pk}/read")
    assert first.status_code == 303
    assert rita.post(f"/exams/{exam.pk}/read").headers["Location"] == first.headers["Location"]
    report = Report.objects.get()
    page = _page(rita, f"/reports/{report.pk}")
    assert "Right upper quadrant pain" in page
    assert 'data-autosave="/reports/' in page


def test_what_somebody_else_reads_can_be_looked_at_only(client: Client) -> None:
    report = makers.make_report(_exam())
    client.force_login(person("rene"))
    assert (
        client.post(f"/exams/{report.reported.get().exam_id}/read").headers["Location"]
        == f"/reports/{report.pk}"
    )
    page = _page(client, f"/reports/{report.pk}")
    assert "Rita Radiologist has this open until" in page
    assert "No acute finding." in page
    assert "<textarea" not in page
    response = client.post(f"/reports/{report.pk}/draft", _sent(report, impression="Mine"))
    assert response.status_code == 409
    assert text_of(Draft.objects.get(report=report).sections, IMPRESSION) == "No acute finding."


def test_autosave_answers_with_the_version_to_go_on_from(rita: Client) -> None:
    report = makers.make_report(_exam())
    sent = _sent(report, impression="Cyst.")
    response = rita.post(f"/reports/{report.pk}/draft", sent)
    assert (response.status_code, response.headers["X-Version"]) == (204, str(int(sent["version"]) + 1))
    assert text_of(Draft.objects.get(report=report).sections, IMPRESSION) == "Cyst."


def test_headings_are_not_the_browsers_to_change(rita: Client) -> None:
    report = makers.make_report(_exam())
    rita.post(
        f"/reports/{report.pk}/draft", {**_sent(report), "text-99": "x", "title-0": "Evil", "code-0": "1"}
    )
    assert [one["title"] for one in Draft.objects.get(report=report).sections] == [
        "Clinical information", "Technique", "Comparison", "Findings", "Impression",
    ]  # fmt: skip


def test_organ_rows_are_put_together_again(rita: Client) -> None:
    add_default_templates(person("ada"))
    report = reporting.open_report(_exam(), by=person("rita"))
    sent: dict[str, Any] = {**_sent(report, impression="Bleed."), "row-3": ["Normal.", "", "Frontal: old."]}
    del sent["text-3"]
    sent["label-3"] = ["Brain", "Ventricles", ""]
    rita.post(f"/reports/{report.pk}/draft", sent)
    assert Draft.objects.get(report=report).sections[3]["text"] == "Brain: Normal.\nFrontal: old."


def test_a_conflict_keeps_both_texts_until_the_reader_chooses(rita: Client) -> None:
    report = makers.make_report(_exam())
    old = _sent(report, impression="Mine")
    rita.post(f"/reports/{report.pk}/draft", _sent(report, impression="Theirs"))
    response = rita.post(f"/reports/{report.pk}/sign", old)
    page = response.content.decode()
    assert response.status_code == 409
    assert "changed in another window" in page
    assert "Mine</textarea>" in page
    assert "Theirs" in page
    assert f'name="version" value="{old["version"]}"' in page
    current = Draft.objects.get(report=report).version
    assert rita.post(f"/reports/{report.pk}/draft", {**old, "over": str(current)}).status_code == 303
    assert text_of(Draft.objects.get(report=report).sections, IMPRESSION) == "Mine"
    assert not ReportPart.objects.exists()


def test_signing_signs_what_is_on_the_page_and_opens_the_next(rita: Client) -> None:
    report = makers.make_report(_exam("Abel"))
    following = _exam("Baker")
    response = rita.post(f"/reports/{report.pk}/sign", _sent(report, impression="Fracture."))
    part = ReportPart.objects.get(report=report)
    assert text_of(part.sections, IMPRESSION) == "Fracture."
    opened = Report.objects.get(reported__exam=following)
    assert response.headers["Location"] == f"/reports/{opened.pk}"
    assert opened.reader == person("rita")
    page = _page(rita, response.headers["Location"])
    assert "ABEL, Adaeze is signed. Next: BAKER, Adaeze." in page
    last = rita.post(f"/reports/{opened.pk}/sign", _sent(opened, impression="Normal."))
    assert last.headers["Location"] == "/reading"


def test_the_next_case_is_of_the_same_list_and_free(rita: Client) -> None:
    report = makers.make_report(_exam("Abel", priority="stat"))
    reporting.open_report(_exam("Baker", priority="stat"), by=person("rene"))
    free = _exam("Cole", priority="stat")
    _exam("Dunn")
    response = rita.post(f"/reports/{report.pk}/sign?v=stat", _sent(report))
    following = Report.objects.get(reported__exam=free)
    assert response.headers["Location"] == f"/reports/{following.pk}?v=stat"


def test_without_auto_next_the_list_follows(rita: Client) -> None:
    report = makers.make_report(_exam("Abel"))
    _exam("Baker")
    rita.post("/reading/auto-next")
    assert rita.post(f"/reports/{report.pk}/sign", _sent(report)).headers["Location"] == "/reading"
    assert rita.post("/reading/auto-next", {"back": "//evil.example"}).headers["Location"] == "/reading"


def test_a_click_on_sign_twice_signs_once(rita: Client) -> None:
    report = makers.make_report(_exam())
    sent = _sent(report, form_key=str(uuid4()))
    first = rita.post(f"/reports/{report.pk}/sign", sent)
    again = rita.post(f"/reports/{report.pk}/sign", sent)
    assert (first.status_code, again.status_code) == (303, 303)
    assert ReportPart.objects.count() == 1
    assert Event.objects.filter(kind="report.signed").count() == 1


def test_signing_from_a_second_tab_is_refused_and_its_words_are_shown(rita: Client) -> None:
    report = makers.make_report(_exam())
    stale = _sent(report, impression="From the other tab")
    rita.post(f"/reports/{report.pk}/sign", _sent(report))
    response = rita.post(f"/reports/{report.pk}/sign", stale)
    page = response.content.decode()
    assert response.status_code == 409
    assert "This report was signed by Rita Radiologist" in page
    assert "From the other tab" in page
    assert ReportPart.objects.count() == 1


def test_an_open_field_is_named_and_nothing_typed_is_lost(rita: Client) -> None:
    report = makers.make_report(_exam())
    response = rita.post(f"/reports/{report.pk}/sign", _sent(report, impression="Size [mm] mm"))
    page = response.content.decode()
    assert response.status_code == 422
    assert "1 field is open: [mm] in Impression." in page
    assert "Size [mm] mm</textarea>" in page
    assert "<title>Error:" in page
    assert text_of(Draft.objects.get(report=report).sections, IMPRESSION) == "Size [mm] mm"


def test_parking_gives_it_back(rita: Client) -> None:
    report = makers.make_report(_exam())
    assert (
        rita.post(f"/reports/{report.pk}/park", _sent(report, impression="Half")).headers["Location"]
        == "/reading"
    )
    report.refresh_from_db()
    assert report.reader is None
    assert text_of(Draft.objects.get(report=report).sections, IMPRESSION) == "Half"


def test_preliminary_is_released_for_the_attending_to_sign(client: Client) -> None:
    report = makers.make_report(_exam())
    reporting.release_lease(report, by=person("rita"))
    client.force_login(person("rene"))
    page = _page(client, f"/reports/{report.pk}")
    assert "Release preliminary" in page
    assert "/sign" not in page
    assert client.post(f"/reports/{report.pk}/preliminary", _sent(report)).status_code == 303
    assert client.post(f"/reports/{report.pk}/sign", _sent(report)).status_code == 403
    client.force_login(person("rita"))
    assert client.post(f"/reports/{report.pk}/sign", _sent(report)).status_code == 303
    report.refresh_from_db()
    assert report.status == "final"


def test_addendum_and_correction_are_opened_signed_and_thrown_away(rita: Client) -> None:
    report = makers.make_report(_exam(), signed=True)
    url = f"/reports/{report.pk}"
    rita.post(f"{url}/addendum")
    page = _page(rita, url)
    assert "Sign addendum" in page
    assert "No acute finding." in page
    rita.post(f"{url}/discard")
    assert not Draft.objects.exists()
    rita.post(f"{url}/addendum")
    draft = Draft.objects.get(report=report)
    rita.post(f"{url}/sign", {"text-0": "Told by phone.", "version": str(draft.version)})
    rita.post(f"{url}/correction")
    rita.post(f"{url}/sign", _sent(report, impression="Fracture."))
    page = _page(rita, url)
    assert "Fracture." in page.split("Earlier versions")[0]
    assert "Told by phone." not in page.split("Earlier versions")[0].split("Context")[0]
    assert "No acute finding." in page.split("Earlier versions")[1]
    assert [one.kind for one in report.parts.all()] == ["final", "addendum", "correction"]


def test_the_signed_page_says_who_when_and_the_seal(client: Client) -> None:
    report = makers.make_report(_exam(), signed=True)
    client.force_login(person("clara"))
    page = _page(client, f"/reports/{report.pk}")
    assert "Final, signed by Rita Radiologist" in page
    assert report.parts.get().digest[:12] in page
    assert "<textarea" not in page
    assert "Addendum" not in page.split("<main")[1]


def test_who_does_not_read_sees_no_working_text(client: Client) -> None:
    report = makers.make_report(_exam(), impression="Not yet for all eyes")
    for name in ("clara", "theo", "ben", "mona"):
        client.force_login(person(name))
        page = _page(client, f"/reports/{report.pk}")
        assert "Not yet for all eyes" not in page
        assert "Nothing is released yet." in page


def test_referrers_see_signed_reports_of_their_own_orders(client: Client) -> None:
    mine = makers.make_practitioner("Rafeson", user=person("rafe"))
    signed = makers.make_report(_exam(ordering=mine), signed=True)
    unsigned = makers.make_report(_exam("Baker", ordering=mine))
    other = makers.make_report(_exam("Cole"), signed=True)
    client.force_login(person("rafe"))
    assert client.get(f"/reports/{signed.pk}").status_code == 200
    assert client.get(f"/reports/{signed.pk}/pdf").status_code == 200
    for report in (unsigned, other):
        assert client.get(f"/reports/{report.pk}").status_code == 404
        assert client.get(f"/reports/{report.pk}/pdf").status_code == 404


@pytest.mark.parametrize(
    "words", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</textarea><b>x"]
)
def test_what_is_typed_is_never_markup(rita: Client, words: str) -> None:
    patient = makers.make_patient()
    prior = makers.make_report(_exam(patient=patient), impression=words)
    reporting.sign_report(prior, version=prior.draft.version, by=person("rita"))
    report = makers.make_report(_exam(patient=patient, reason=words, clinical_info=words), impression=words)
    for page in (_page(rita, f"/reports/{report.pk}"), _page(rita, f"/reports/{prior.pk}")):
        assert words not in page
        assert "&lt;" in page


def test_the_pdf_is_of_now_or_of_a_part(rita: Client) -> None:
    report = makers.make_report(_exam())
    assert rita.get(f"/reports/{report.pk}/pdf").status_code == 404
    reporting.make_preliminary(report, version=report.draft.version, by=person("rita"))
    reporting.sign_report(report, version=report.draft.version, by=person("rita"))
    now = rita.get(f"/reports/{report.pk}/pdf")
    assert (now["Content-Type"], now["Cache-Control"]) == ("application/pdf", "private, no-store")
    assert "OKAFOR" not in now["Content-Disposition"]
    assert "Final report" in PdfReader(io.BytesIO(now.content)).pages[0].extract_text()
    then = rita.get(f"/reports/{report.pk}/pdf?part=1")
    assert "Preliminary - not signed" in PdfReader(io.BytesIO(then.content)).pages[0].extract_text()
    assert rita.get(f"/reports/{report.pk}/pdf?part=7").status_code == 404
    assert AuditEvent.objects.filter(action="report.export").count() == 2


def test_the_report_costs_the_same_however_long_the_list_and_the_history(
    rita: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    patient = makers.make_patient()
    makers.make_report(_exam(patient=patient), signed=True)
    report = makers.make_report(_exam(patient=patient))
    rita.get(f"/reports/{report.pk}")
    with django_assert_num_queries(40, exact=False) as few:
        rita.get(f"/reports/{report.pk}")
    makers.make_report(_exam(patient=patient), signed=True)
    makers.make_report(_exam("Baker"))
    with django_assert_num_queries(len(few.captured_queries), exact=False):
        rita.get(f"/reports/{report.pk}")
