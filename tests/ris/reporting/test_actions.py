"""Rules of reading: who writes, what is kept, what a signature freezes."""

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from ris.core.errors import Conflict, IllegalTransition, MissingData, NotAllowed
from ris.events.models import Event
from ris.exams.models import Exam
from ris.reporting import actions as reporting
from ris.reporting.models import Draft, Report, ReportPart
from ris.reporting.sections import IMPRESSION, Section, from_rows, rows, text_of
from ris.reporting.signing import digest, is_whole
from ris.reporting.templates_data import DEFAULT_TEMPLATES, add_default_templates
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


def _words(report: Report, impression: str) -> list[Section]:
    found: list[Section] = [
        {**one, "text": impression if one["code"] == IMPRESSION[0] else one["text"]}  # type: ignore[typeddict-item]
        for one in Draft.objects.get(report=report).sections
    ]
    return found


def test_a_second_reader_is_told_who_has_it() -> None:
    report = makers.make_report()
    exam = report.reported.get().exam
    with pytest.raises(Conflict, match="Rita Radiologist is reading this"):
        reporting.open_report(exam, by=person("rene"))
    with pytest.raises(Conflict, match="Rita Radiologist is reading this"):
        reporting.save_draft(report, _words(report, "x"), version=report.draft.version, by=person("rene"))
    later = timezone.now() + timedelta(minutes=16)
    assert reporting.open_report(exam, by=person("rene"), at=later).reader == person("rene")


def test_a_parked_report_is_free_at_once_and_keeps_its_words() -> None:
    report = makers.make_report(impression="Half a")
    reporting.release_lease(report, by=person("rita"))
    opened = reporting.open_report(report.reported.get().exam, by=person("rene"))
    assert text_of(opened.draft.sections, IMPRESSION) == "Half a"


def test_the_second_tab_does_not_overwrite_the_first() -> None:
    report, rita = makers.make_report(), person("rita")
    seen = report.draft.version
    reporting.save_draft(report, _words(report, "From the first tab"), version=seen, by=rita)
    with pytest.raises(Conflict, match="another window"):
        reporting.save_draft(report, _words(report, "From the second tab"), version=seen, by=rita)
    assert text_of(Draft.objects.get(report=report).sections, IMPRESSION) == "From the first tab"


def test_the_same_words_saved_again_are_no_conflict() -> None:
    report, rita = makers.make_report(), person("rita")
    seen = report.draft.version
    saved = reporting.save_draft(report, _words(report, "Same"), version=seen, by=rita)
    again = reporting.save_draft(report, _words(report, "Same"), version=seen, by=rita)
    assert again.version == saved.version == seen + 1


def test_signing_what_changed_meanwhile_is_refused() -> None:
    report, rita = makers.make_report(), person("rita")
    seen = report.draft.version
    reporting.save_draft(report, _words(report, "Changed"), version=seen, by=rita)
    with pytest.raises(Conflict):
        reporting.sign_report(report, version=seen, by=rita)
    assert not ReportPart.objects.exists()


def test_an_open_field_blocks_signing() -> None:
    report = makers.make_report(impression="Stones: [stones: none / describe]")
    before = Event.objects.count()
    with pytest.raises(MissingData, match=r"1 field is open: \[stones: none / describe\] in Impression"):
        reporting.sign_report(report, version=report.draft.version, by=person("rita"))
    assert Event.objects.count() == before


def test_a_resident_releases_a_preliminary_text_and_does_not_sign() -> None:
    report = makers.make_report()
    reporting.release_lease(report, by=person("rita"))
    rene = person("rene")
    with pytest.raises(NotAllowed):
        reporting.sign_report(report, version=report.draft.version, by=rene)
    part = reporting.make_preliminary(report, version=report.draft.version, by=rene)
    report.refresh_from_db()
    assert (report.status, part.kind, part.signed_by) == ("preliminary", "preliminary", None)
    assert report.reported.get().exam.order.status == "performed"
    reporting.sign_report(report, version=report.draft.version, by=person("rita"))
    report.refresh_from_db()
    assert (report.status, report.reported.get().exam.order.status) == ("final", "reported")
    assert [one.kind for one in report.parts.all()] == ["preliminary", "final"]


def test_a_correction_replaces_the_text_and_keeps_the_old() -> None:
    report, rita = makers.make_report(signed=True), person("rita")
    reporting.begin_correction(report, by=rita)
    draft = Draft.objects.get(report=report)
    assert text_of(draft.sections, IMPRESSION) == "No acute finding."
    draft = reporting.save_draft(report, _words(report, "Fracture."), version=draft.version, by=rita)
    reporting.sign_report(report, version=draft.version, by=rita)
    report.refresh_from_db()
    assert report.status == "corrected"
    assert [text_of(one.sections, IMPRESSION) for one in report.parts.all()] == [
        "No acute finding.",
        "Fracture.",
    ]


def test_one_addendum_or_correction_at_a_time() -> None:
    report, rita = makers.make_report(signed=True), person("rita")
    reporting.begin_addendum(report, by=rita)
    with pytest.raises(Conflict, match="addendum of this report is open"):
        reporting.begin_correction(report, by=rita)
    reporting.discard_draft(report, by=rita)
    reporting.begin_correction(report, by=rita)


def test_the_report_itself_is_never_thrown_away() -> None:
    with pytest.raises(IllegalTransition, match="park it instead"):
        reporting.discard_draft(makers.make_report(), by=person("rita"))


@pytest.mark.parametrize(
    "statement",
    ["UPDATE reporting_reportpart SET sections = '[]'", "UPDATE reporting_reportpart SET signed_name = 'X'",
     "DELETE FROM reporting_reportpart", "DELETE FROM reporting_report", "DELETE FROM reporting_reportedexam"],
)  # fmt: skip
def test_signed_text_is_frozen_even_for_raw_sql(statement: str) -> None:
    report = makers.make_report(signed=True)
    with (
        pytest.raises(DatabaseError, match=r"(?i)cannot|violates"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert is_whole(report.parts.get())


@pytest.mark.parametrize(
    "statement", ["UPDATE reporting_reportpart SET number = 9", "DELETE FROM reporting_reportpart"]
)
def test_the_running_service_has_no_right_to_touch_signed_text(as_application: None, statement: str) -> None:
    with (
        pytest.raises(DatabaseError, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


def test_the_seal_shows_any_change() -> None:
    report = makers.make_report(signed=True)
    part = report.parts.get()
    known = part.digest
    assert digest(part) == known
    for field, value in (
        ("sections", [{**part.sections[-1], "text": "No acute findings."}]), ("signed_name", "Somebody else"),
        ("signed_by_id", person("rene").pk), ("released_at", part.released_at + timedelta(seconds=1)),
        ("kind", "correction"), ("number", 2),
    ):  # fmt: skip
        changed = ReportPart.objects.get(pk=part.pk)
        setattr(changed, field, value)
        assert digest(changed) != known, field
    other = makers.make_exam(makers.make_order(patient=makers.make_patient("Other")), completed=True)
    Exam.objects.filter(pk=report.reported.get().exam_id).update(order=other.order)
    assert not is_whole(ReportPart.objects.get(pk=part.pk))


# ---- the text it begins with


def test_the_text_begins_with_the_template_of_modality_and_body_part() -> None:
    add_default_templates(person("ada"))
    head = makers.make_procedure_type("CT-HEAD2", name="CT head", body_part="Head")
    spine = makers.make_procedure_type("CT-SP", name="CT spine", body_part="Lumbar spine")
    nm = makers.make_procedure_type("NM-B", name="NM bone", modality="NM", body_part="Whole body")
    for kind, findings in ((head, "Brain: No haemorrhage"), (spine, "[findings]"), (nm, "[findings]")):
        assert text_of(reporting.template_for(kind), ("59776-5", "")).startswith(findings)
    own = reporting.NewTemplate("Mine", DEFAULT_TEMPLATES[-1].sections, procedure_type=head)
    reporting.keep_template(own, by=person("ada"))
    assert text_of(reporting.template_for(head), ("59776-5", "")).startswith("Bones: No fracture")


def test_the_question_and_the_newest_prior_are_filled_in() -> None:
    patient = makers.make_patient()
    first = makers.make_report(
        makers.make_exam(makers.make_order(patient=patient), completed=True), signed=True
    )
    done = first.reported.get().exam
    exam = makers.make_exam(makers.make_order(patient=patient, clinical_info="Known cyst."), completed=True)
    report = reporting.open_report(exam, by=person("rita"))
    words = report.draft.sections
    assert text_of(words, ("55752-0", "")) == "Right upper quadrant pain\nKnown cyst."
    assert text_of(words, ("18834-2", "")).startswith("CT head ")
    assert f"{done.started_at:%Y}" in text_of(words, ("18834-2", ""))


def test_default_templates_are_only_open_where_they_should_be() -> None:
    closed = {
        one.name for one in DEFAULT_TEMPLATES if "[" not in "".join(part["text"] for part in one.sections)
    }
    assert closed == {"CT head", "XR chest"} | ({"XR bones and joints"})


ORGANS = "Liver: Normal.\nSpleen: 9.8 cm.\nBile ducts: Not dilated:\n 4 mm.\nBones: Normal."


def test_a_text_of_organs_is_rows_and_back() -> None:
    assert rows(ORGANS)[2] == ("Bile ducts", "Not dilated:\n 4 mm.")
    assert from_rows(rows(ORGANS)) == ORGANS
    assert rows("Normal chest.\nAt 10:30: seen.") == []
    assert (
        from_rows([("Liver", "Normal."), ("Spleen", " "), ("", "Other words.")])
        == "Liver: Normal.\nOther words."
    )
