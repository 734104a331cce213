"""Taking back and reading together, through the pages; where the results have come to."""

import io
from typing import Any

import pytest
from django.test import Client
from pypdf import PdfReader

from interfaces.models import OutboundMessage
from ris.events.outbox import relay_all
from ris.exams.models import Exam
from ris.reporting import actions as reporting
from ris.reporting.models import Draft, Report
from tests import makers
from tests.cast import person
from tests.interfaces.hl7.test_telling import partner

pytestmark = pytest.mark.django_db


@pytest.fixture
def rita(client: Client) -> Client:
    client.force_login(person("rita"))
    return client


def _page(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, response.content[:500]
    return " ".join(response.content.decode().split())


def _exam(family: str = "Okafor", **fields: object) -> Exam:
    patient = fields.pop("patient", None) or makers.make_patient(family)
    return makers.make_exam(makers.make_order(patient=patient, **fields), completed=True)  # type: ignore[arg-type]


def _signed(exam: Exam | None = None) -> Report:
    return makers.make_report(exam or _exam(), signed=True, impression="Fracture of the wrist.")


def _number(report: Report) -> str:
    return str(report.reported.all()[0].exam.order.accession_number)


def _paper(client: Client, url: str) -> str:
    pages = PdfReader(io.BytesIO(client.get(url).content)).pages
    return " ".join(page.extract_text() for page in pages)


def test_withdrawing_takes_the_accession_of_the_right_report(rita: Client) -> None:
    report, other = _signed(), _signed(_exam("Other"))
    url = f"/reports/{report.pk}/withdraw"
    assert "Withdraw…" in _page(rita, f"/reports/{report.pk}")
    assert "Everybody who has this report is told" in _page(rita, url)
    for sent, said in (
        ({"reason": "wrong_exam"}, "Scan or type the accession"),
        ({"reason": "wrong_exam", "accession": _number(other)}, "not the accession of this report"),
        ({"accession": _number(report)}, "Pick why"),
        (
            {"reason": "wrong_exam", "accession": _number(report), "right": _number(other)},
            "No exam of that accession",
        ),
    ):
        response = rita.post(url, sent)
        assert response.status_code == 422
        assert said in response.content.decode()
    report.refresh_from_db()
    assert report.status == "final"
    typed = f" {_number(report)[:3]}-{_number(report)[3:6].lower()} {_number(report)[6:]} "
    assert rita.post(url, {"reason": "entered_in_error", "accession": typed}).status_code == 303
    report.refresh_from_db()
    assert report.status == "withdrawn"


def test_nobody_can_take_a_withdrawn_report_for_a_valid_one(rita: Client) -> None:
    """RST-10: on the page and on paper, whichever version is asked for; and the new one says there was one."""
    report = _signed()
    exam = report.reported.get().exam
    reporting.withdraw_report(report, "wrong_exam", words="Dictated on the wrong study", by=person("rita"))
    page = _page(rita, f"/reports/{report.pk}")
    assert "WITHDRAWN: this report is not valid" in page
    assert "Wrong exam. Dictated on the wrong study." in page
    before, struck = page.split("<del>")[:2]
    assert "Fracture of the wrist." in struck.split("</del>")[0]
    assert "Fracture of the wrist." not in before.split("<main")[1]
    for command in ("Addendum", "Correct ", "Withdraw…"):
        assert command not in page.split("<main")[1]
    for version in ("", "?part=1", "?part=2"):
        assert "WITHDRAWN - not valid" in _paper(rita, f"/reports/{report.pk}/pdf{version}")
    rita.post(f"/exams/{exam.pk}/read")
    again = Report.objects.get(reported__current=exam)
    page = _page(rita, f"/reports/{again.pk}")
    assert "An earlier report of this exam was withdrawn" in page
    assert f'href="/reports/{report.pk}"' in page
    rita.force_login(person("clara"))
    assert "Fracture of the wrist." not in _page(rita, f"/p/{exam.order.patient_id}")


def test_the_text_goes_to_the_right_exam_by_its_accession(rita: Client) -> None:
    """SCN-18."""
    report, right = _signed(), _exam("Right")
    sent = {"reason": "wrong_patient", "accession": _number(report), "right": right.order.accession_number}
    response = rita.post(f"/reports/{report.pk}/withdraw", sent)
    moved = Report.objects.get(reported__current=right)
    assert response.headers["Location"] == f"/reports/{moved.pk}"
    page = _page(rita, f"/reports/{moved.pk}")
    assert "Check its text here, then sign." in page
    assert "Fracture of the wrist.</textarea>" in page


def test_a_reading_is_cancelled_from_its_page(client: Client) -> None:
    """RST-09: the resident who released it can."""
    client.force_login(person("rene"))
    report = reporting.open_report(_exam(), by=person("rene"))
    words = [{**one, "text": one["text"] or "Normal."} for one in report.draft.sections]
    draft = reporting.save_draft(report, words, version=1, by=person("rene"))  # type: ignore[arg-type]
    reporting.make_preliminary(report, version=draft.version, by=person("rene"))
    url = f"/reports/{report.pk}/cancel"
    assert f'href="{url}"' in _page(client, f"/reports/{report.pk}")
    assert "Say why" in client.post(url, {"accession": _number(report)}).content.decode()
    response = client.post(url, {"accession": _number(report), "words": "Wrong series"})
    assert response.headers["Location"] == "/reading"
    assert "CANCELLED: this report is not valid" in _page(client, f"/reports/{report.pk}")


def test_a_second_exam_is_taken_along_with_the_words_on_the_page(rita: Client) -> None:
    """RES-28."""
    patient = makers.make_patient()
    report, second = makers.make_report(_exam(patient=patient)), _exam(patient=patient)
    draft = Draft.objects.get(report=report)
    words = {f"text-{place}": one["text"] for place, one in enumerate(draft.sections)}
    assert "Read together with" in _page(rita, f"/reports/{report.pk}")
    sent = {
        **words,
        "text-4": "Both normal.",
        "version": str(draft.version),
        "exam": str(second.pk),
        "finding": "cat2",
    }
    assert rita.post(f"/reports/{report.pk}/together", sent).status_code == 303
    page = _page(rita, f"/reports/{report.pk}")
    assert "Both normal.</textarea>" in page
    assert '<option value="cat2" selected>' in page
    assert page.count(second.order.accession_number) >= 1
    assert "Read together with" not in page


def test_the_report_says_who_has_it_and_who_refused_it(rita: Client) -> None:
    """DEL-02, DEL-03."""
    partner("emr", facts="results", profile={"pdf": "no"})
    partner("archive", facts="results", profile={"pdf": "no"})
    report = _signed()
    relay_all()
    page = _page(rita, f"/reports/{report.pk}")
    assert page.count("On its way") == 2
    OutboundMessage.objects.filter(endpoint__name="archive").update(status="sent")
    OutboundMessage.objects.filter(endpoint__name="archive").update(status="accepted")
    refused = OutboundMessage.objects.filter(endpoint__name="emr")
    refused.update(status="sent")
    refused.update(status="rejected", error_text="204 Unknown key identifier")
    page = _page(rita, f"/reports/{report.pk}")
    assert "Not delivered to emr since" in page
    assert "204 Unknown key identifier" in page
    assert page.count("Delivered") == 1
    assert "/interfaces/out/" not in page
    assert "1 result not delivered" in _page(rita, "/reading")
    rita.force_login(person("mona"))
    assert f'href="/interfaces/out/{refused.get().pk}"' in _page(rita, f"/reports/{report.pk}")


def test_the_same_by_rest(rita: Client) -> None:
    patient = makers.make_patient()
    report, second, right = makers.make_report(_exam(patient=patient)), _exam(patient=patient), _exam("Right")

    def post(pk: int, verb: str, **sent: object) -> Any:
        return rita.post(f"/api/v1/reports/{pk}/{verb}/", sent, content_type="application/json")

    assert len(post(report.pk, "together", exam=second.pk).json()["exams"]) == 2
    assert post(report.pk, "withdraw", reason="wrong_exam").status_code == 409
    assert post(report.pk, "sign", version=report.draft.version).status_code == 200
    moved = post(report.pk, "move", exam=right.pk, words="Mixed up").json()
    assert (moved["exams"], moved["status"]) == ([right.pk], "draft")
    assert rita.get(f"/api/v1/reports/{report.pk}/").json()["status"] == "withdrawn"
    assert post(moved["id"], "cancel").json()["status"] == "cancelled"
    done = _signed(_exam("Cole"))
    answer = post(done.pk, "withdraw", reason="entered_in_error")
    assert answer.json()["parts"][-1]["kind"] == "withdrawal"
