"""Rules of taking back: what ends, what stays, what is read anew; and of exams read together."""

import pytest

from billing.models import Charge
from ris.core.errors import BadValue, Conflict, IllegalTransition, MissingData, NotAllowed
from ris.events.models import Delivery, Event
from ris.events.outbox import relay_all
from ris.exams.models import Exam
from ris.patients.merge_actions import merge_patients, unmerge_patients
from ris.reporting import actions as reporting
from ris.reporting import worklists
from ris.reporting.models import Draft, Report
from ris.reporting.sections import CLINICAL, IMPRESSION, text_of
from ris.reporting.signing import current_parts, is_whole
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


def _exam(family: str = "Okafor", **fields: object) -> Exam:
    patient = fields.pop("patient", None) or makers.make_patient(family)
    return makers.make_exam(makers.make_order(patient=patient, **fields), completed=True)  # type: ignore[arg-type]


def _signed(exam: Exam, impression: str = "No acute finding.") -> Report:
    return makers.make_report(exam, signed=True, impression=impression)


def _charges(exam: Exam) -> list[str]:
    relay_all()
    assert not Delivery.objects.filter(done_at=None, subscriber__startswith="billing").exists()
    rows = Charge.objects.filter(exam=exam, component="professional").order_by("pk")
    return list(rows.values_list("status", flat=True))


def test_a_withdrawn_report_keeps_its_text_and_its_exam_is_read_anew() -> None:
    """RST-10."""
    exam, rita = _exam(), person("rita")
    report = _signed(exam)
    assert _charges(exam) == ["held"]
    part = reporting.withdraw_report(report, "entered_in_error", words="Wrong window", by=rita)
    report.refresh_from_db()
    exam = Exam.objects.get(pk=exam.pk)
    assert (report.status, report.ended_because, exam.order.status) == (
        "withdrawn", "entered_in_error", "performed",
    )  # fmt: skip
    assert part.sections[0]["text"] == "Entered in error. Wrong window."
    assert [one.kind for one in current_parts(report)] == ["withdrawal", "final"]
    assert all(is_whole(one) for one in report.parts.all())
    assert [case.exam for case in worklists.reading_list(rita)] == [exam]
    assert worklists.priors(exam.order.patient) == []
    assert _charges(exam) == ["voided"]
    again = _signed(exam, "Fracture.")
    exam.order.refresh_from_db()
    assert again.pk != report.pk
    assert exam.order.status == "reported"
    assert _charges(exam) == ["voided", "held"]
    assert [one.pk for one in worklists.taken_back([exam])] == [report.pk]


def test_only_what_is_signed_is_withdrawn_and_only_once_and_for_a_reason() -> None:
    rita = person("rita")
    draft = makers.make_report(_exam("Abel"))
    with pytest.raises(IllegalTransition, match="not signed; cancel it"):
        reporting.withdraw_report(draft, "wrong_exam", by=rita)
    report = _signed(_exam())
    with pytest.raises(BadValue, match="Pick why"):
        reporting.withdraw_report(report, "because", by=rita)
    with pytest.raises(NotAllowed):
        reporting.withdraw_report(report, "wrong_exam", by=person("rene"))
    reporting.withdraw_report(report, "wrong_exam", by=rita)
    with pytest.raises(IllegalTransition, match="withdrawn already"):
        reporting.withdraw_report(report, "wrong_exam", by=rita)
    with pytest.raises(IllegalTransition):
        reporting.begin_addendum(report, by=rita)


def test_an_open_addendum_goes_with_the_report_and_a_colleagues_stops_it() -> None:
    report, rita = _signed(_exam()), person("rita")
    reporting.begin_addendum(report, by=rita)
    reporting.withdraw_report(report, "wrong_exam", by=rita)
    assert not Draft.objects.filter(report=report).exists()


def test_a_preliminary_is_cancelled_with_a_reason_and_a_draft_without() -> None:
    """RST-09, RST-02."""
    rita = person("rita")
    released, silent = makers.make_report(_exam("Abel")), makers.make_report(_exam("Baker"))
    reporting.make_preliminary(released, version=released.draft.version, by=rita)
    with pytest.raises(MissingData, match="Say why"):
        reporting.cancel_report(released, by=rita)
    reporting.cancel_report(released, words="Wrong series", by=rita)
    reporting.cancel_report(silent, by=rita)
    for report, kinds in ((released, ["preliminary", "cancellation"]), (silent, [])):
        report.refresh_from_db()
        assert report.status == "cancelled"
        assert [one.kind for one in report.parts.all()] == kinds
        assert not Draft.objects.filter(report=report).exists()
    assert len(worklists.reading_list(rita)) == 2
    with pytest.raises(IllegalTransition, match="signed; withdraw it"):
        reporting.cancel_report(_signed(_exam("Cole")), words="No", by=rita)


def test_a_report_of_the_wrong_patient_begins_the_right_ones() -> None:
    """SCN-18: the words move, the facts of the record do not, and nothing is signed by it."""
    wrong, right = _exam("Wrong", reason="Cough"), _exam("Right", reason="Fall")
    report, rita = _signed(wrong, "Fracture of the wrist."), person("rita")
    moved = reporting.move_report(report, right, by=rita)
    report.refresh_from_db()
    assert (report.status, report.ended_because) == ("withdrawn", "wrong_patient")
    assert moved.status == "draft"
    words = Draft.objects.get(report=moved).sections
    assert text_of(words, IMPRESSION) == "Fracture of the wrist."
    assert text_of(words, CLINICAL) == "Fall"
    facts = Event.objects.filter(kind="report.withdrawn").get()
    assert (facts.facts["exam"], facts.facts["reason"]) == (wrong.pk, "wrong_patient")


def test_a_moved_text_overwrites_nobodys_words() -> None:
    rita = person("rita")
    report, begun, done = _signed(_exam("Abel")), makers.make_report(_exam("Baker")), _signed(_exam("Cole"))
    for other, refusal in ((begun, Conflict), (done, IllegalTransition)):
        with pytest.raises(refusal):
            reporting.move_report(report, other.reported.get().exam, by=rita)
    with pytest.raises(BadValue, match="exam's already"):
        reporting.move_report(report, report.reported.get().exam, by=rita)
    report.refresh_from_db()
    assert report.status == "final"


def test_two_exams_of_a_patient_are_read_in_one_report() -> None:
    """RES-28."""
    patient, rita = makers.make_patient(), person("rita")
    first, second = _exam(patient=patient), _exam(patient=patient)
    report = makers.make_report(first)
    assert worklists.together_with(patient) == [second]
    reporting.add_exam(report, second, by=rita)
    reporting.add_exam(report, second, by=rita)
    assert worklists.together_with(patient) == []
    reporting.sign_report(report, version=report.draft.version, by=rita)
    assert {Exam.objects.get(pk=one.pk).order.status for one in (first, second)} == {"reported"}
    assert Event.objects.filter(kind="report.signed").count() == 2
    assert is_whole(report.parts.get())
    reporting.withdraw_report(report, "wrong_exam", by=rita)
    assert len(worklists.reading_list(rita)) == 2


def test_what_may_not_be_read_together() -> None:
    patient, rita = makers.make_patient(), person("rita")
    report = makers.make_report(_exam(patient=patient))
    own = makers.make_report(_exam(patient=patient)).reported.get().exam
    running = makers.make_exam(makers.make_order(patient=patient))
    for exam, refusal in (
        (own, "report of its own"),
        (running, "not complete"),
        (_exam("Else"), "another patient"),
    ):
        with pytest.raises((IllegalTransition, BadValue), match=refusal):
            reporting.add_exam(report, exam, by=rita)
    reporting.make_preliminary(report, version=report.draft.version, by=rita)
    with pytest.raises(IllegalTransition, match="has been released"):
        reporting.add_exam(report, _exam(patient=patient), by=rita)


def test_a_merge_while_a_report_is_open_changes_whose_it_is_and_breaks_no_seal() -> None:
    """SCN-19, PIR-04: the draft is signed for the survivor; what was signed before stays whole."""
    clara, rita = person("clara"), person("rita")
    retired, survivor = makers.make_patient("Doe"), makers.make_patient("Okafor")
    signed, open_one = _signed(_exam(patient=retired)), makers.make_report(_exam(patient=retired))
    merge = merge_patients(survivor, retired, by=clara)
    reporting.sign_report(open_one, version=open_one.draft.version, by=rita)
    old, new = signed.parts.get(), open_one.parts.get()
    assert is_whole(old)
    assert is_whole(new)
    assert (old.patient_id, new.patient_id) == (retired.pk, survivor.pk)
    with pytest.raises(Conflict, match="released for the surviving record"):
        unmerge_patients(merge, reason="Two people", by=clara)
