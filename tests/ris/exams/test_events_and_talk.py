"""What is noted during an exam, what is said about it, and the dose beside its level."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from ris.core.errors import BadValue, Conflict, MissingData, NotAllowed, RisError
from ris.events.models import Event
from ris.exams.actions import note_dose
from ris.exams.actions.events import change_exam, name_assistant, note_event, withdraw_event
from ris.exams.actions.messages import note_seen, send_message
from ris.exams.barcodes import code128, symbols
from ris.exams.doses import dose_of
from ris.exams.levels import compare, exams_over_level, repeats
from ris.exams.models import DoseReferenceLevel, ExamEvent, ExamMessage
from ris.exams.talk import talks_context, unseen_counts, waiting_talks
from ris.exams.worklists import portable_round, ward_and_bed
from ris.patients.actions import NewVisit, open_visit
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def theo(client: Client) -> Client:
    client.force_login(person("theo"))
    return client


def test_an_event_says_what_it_must_and_is_withdrawn_by_its_author_alone() -> None:
    """T12: repeats and rejects count by reason; what is withdrawn counts no more and stays to be seen."""
    exam, by = makers.make_exam(), person("theo")
    for kind, told, refusal in (
        ("reaction", {}, MissingData), ("repeated", {}, MissingData), ("note", {}, MissingData),
        ("withdrawn", {}, BadValue), ("lunch", {}, BadValue),
    ):  # fmt: skip
        with pytest.raises(refusal):
            note_event(exam, kind, by=by, **told)
    again = note_event(exam, "repeated", reason="motion", image_count=3, by=by)
    note_event(exam, "rejected", reason="exposure", by=by)
    note_event(exam, "moved", by=by)
    assert repeats(timezone.now() - timedelta(days=1)).reasons == [
        ("Patient moved", 3, 0),
        ("Exposure", 0, 1),
    ]
    with pytest.raises(NotAllowed):
        withdraw_event(again, reason="Not mine", by=person("mona"))
    with pytest.raises(MissingData):
        withdraw_event(again, reason=" ", by=by)
    withdraw_event(again, reason="Other patient", by=by)
    with pytest.raises(Conflict):
        withdraw_event(ExamEvent.objects.get(pk=again.pk), reason="Twice", by=by)
    assert repeats(timezone.now() - timedelta(days=1)).repeated == 0
    assert ExamEvent.objects.filter(exam=exam).count() == 4
    with pytest.raises(IntegrityError), transaction.atomic():
        ExamEvent.objects.create(exam=exam, kind="repeated", by=by, at=timezone.now())


def test_a_reaction_stays_with_the_patient_until_its_event_is_withdrawn() -> None:
    """SR-09, features 2.5: what happened here is known at the next visit."""
    kind = makers.make_procedure_type("CTC", name="CT abdomen + contrast", contrast=True)
    exam, by = makers.make_exam(procedure_type=kind), person("theo")
    event = note_event(exam, "reaction", severity="moderate", text="Hives, treated", by=by)
    fact = exam.order.patient.reactions.get()
    assert (fact.kind, fact.severity, fact.description) == ("iodine", "moderate", "Hives, treated")
    withdraw_event(event, reason="Other patient", by=by)
    fact.refresh_from_db()
    assert fact.withdrawn_reason == "Other patient"


def test_another_exam_is_done_with_a_reason_that_stays() -> None:
    """RAD-13: the placer hears `order.procedure_changed`; the exam keeps what it was and why."""
    exam, by = makers.make_exam(), person("theo")
    neck = makers.make_procedure_type("CTNECK", name="CT head and neck")
    with pytest.raises(MissingData):
        change_exam(exam, neck, reason="", by=by)
    change_exam(exam, neck, reason="Radiologist asked for it", by=by)
    assert Event.objects.filter(kind="order.procedure_changed").exists()
    event = ExamEvent.objects.get(kind="procedure_changed")
    assert event.text == "CT head → CT head and neck: Radiologist asked for it"
    with pytest.raises(RisError):
        change_exam(exam, neck, reason="Again", by=by)
    with pytest.raises(BadValue):
        name_assistant(exam, by, by=by)
    mona = person("mona")
    assert name_assistant(exam, mona, by=by).assistant == mona


def test_what_one_side_writes_waits_for_the_other() -> None:
    exam = makers.make_exam()
    order, theo, rita, rene = exam.order, person("theo"), person("rita"), person("rene")
    send_message(order, "Contrast with eGFR 44?", urgent=True, by=theo)
    assert unseen_counts(rita, [order.pk]) == {order.pk: (1, 1)}
    assert unseen_counts(theo, [order.pk]) == {}
    assert [one.order_id for one in waiting_talks(rita)] == [order.pk]
    assert talks_context(rita) | {"talks": 1, "urgent": 1} == talks_context(rita)
    assert note_seen(order.messages.all(), by=rene) == 1
    assert note_seen(order.messages.all(), by=rene) == 0
    assert waiting_talks(rita) == []
    send_message(order, "70 mL.", by=rita)
    assert unseen_counts(theo, [order.pk]) == {order.pk: (1, 0)}
    send_message(order, "Thanks.", by=theo)
    assert unseen_counts(theo, [order.pk]) == {}
    readers = {
        (one.text, seen.reader.username) for one in ExamMessage.objects.all() for seen in one.receipts.all()
    }
    assert readers == {
        ("Contrast with eGFR 44?", "rene"),
        ("Contrast with eGFR 44?", "rita"),
        ("70 mL.", "theo"),
    }
    with pytest.raises(NotAllowed):
        send_message(order, "Hello", by=person("clara"))


def test_a_dose_is_compared_with_the_newest_level_of_its_exam_or_body_part() -> None:
    """SR-09: the exam's own level before its body part's, that before the modality's; sources named."""
    exam, by = makers.make_exam(), person("theo")
    kind = exam.procedure.procedure_type
    assert kind is not None

    def level(value: str, since: str = "2024-01-01", **where: object) -> None:
        DoseReferenceLevel.objects.create(
            quantity="dlp_mgycm", value=Decimal(value), source="BfS", valid_from=since, **where
        )

    note_dose(exam, source="typed", dlp_mgycm=Decimal(950), ctdivol_mgy=Decimal("55.5"), by=by)
    dose = dose_of(exam)
    assert dose is not None
    assert [(line.name, line.value, line.sentence) for line in compare(kind, dose)] == [
        ("CTDIvol", "55.5 mGy", ""), ("DLP", "950 mGy·cm", ""),
    ]  # fmt: skip
    level("700", modality="CT")
    assert exams_over_level()[0].exam == exam
    level("900", modality="CT", body_part="head", since="2023-01-01")
    level("1000", modality="CT", body_part="Head")
    assert compare(kind, dose)[1].sentence == "95 % of the level of 1000 mGy·cm (BfS)."
    assert exams_over_level() == []
    level("500", procedure_type=kind)
    level("100", procedure_type=kind, since="2999-01-01")
    assert compare(kind, dose)[1].sentence == "Above the level of 500 mGy·cm (BfS): 190 %."
    with pytest.raises(IntegrityError), transaction.atomic():
        level("500", procedure_type=kind)


def test_the_bedside_round_goes_by_ward_and_bed() -> None:
    """T16."""
    for location, place in (
        ("4 East 12", ("4 East", "12")), ("ICU^7^A", ("ICU", "7 A")), ("Recovery", ("Recovery", "")), ("", ("", "")),
        ("2 West, bed 03", ("2 West", "03")),
    ):  # fmt: skip
        assert ward_and_bed(location) == place
    for family, location in (
        ("Abel", "4 East 12"),
        ("Baker", "2 West 3"),
        ("Cole", "4 East 2"),
        ("Dunn", ""),
    ):
        patient = makers.make_patient(family)
        visit = (
            open_visit(patient, NewVisit(f"V{family}", location=location), by=person("clara"))
            if location
            else None
        )
        makers.make_order(patient=patient, visit=visit, transport="PORT")
    makers.make_order(patient=makers.make_patient("Elm"), transport="WHLC")
    assert [one.order.patient.family for one in portable_round()] == ["Baker", "Cole", "Abel", "Dunn"]


def test_what_is_printed_holds_all_of_a_long_name_and_codes_numbers_only(theo: Client) -> None:
    """ux-print: nothing is cut; a code holds the MRN or the accession number and nothing else."""
    patient = makers.make_patient(
        "Wolfeschlegelsteinhausenbergerdorff-Oyelaran", "Maximiliana Henrietta", mrn="004417268"
    )
    exam = makers.make_exam(makers.make_order(patient=patient), completed=True)
    note_dose(exam, source="typed", dlp_mgycm=Decimal(398), by=person("theo"))
    name = "WOLFESCHLEGELSTEINHAUSENBERGERDORFF-OYELARAN, Maximiliana Henrietta"
    order = exam.order.pk
    pages = {
        path: theo.get(path).content.decode()
        for path in (f"/orders/{order}/label", f"/orders/{order}/wristband", f"/orders/{order}/attendance",
                     f"/exams/{exam.pk}/dose-card")
    }  # fmt: skip
    for page in pages.values():
        assert name in page
        assert "trunc" not in page.split("<main")[1]
    assert "398 mGy·cm" in pages[f"/exams/{exam.pk}/dose-card"]
    assert "CT head" not in pages[f"/orders/{order}/attendance"]
    assert "CT head" in theo.get(f"/orders/{order}/attendance?exam=1").content.decode()
    # Worked by hand from ISO/IEC 15417: pairs of digits in set C, the checksum modulo 103.
    assert symbols("123456") == [105, 12, 34, 56, 44, 106]
    assert symbols("A26") == [104, 33, 18, 22, (104 + 33 + 36 + 66) % 103, 106]
    assert 'viewBox="0 0 88 40"' in code128("123456")


def test_completing_before_all_images_are_there_leaves_a_flag(theo: Client) -> None:
    """ux.md 2.10: 412 sent, 388 in archive; wait or complete and flag."""
    from ris.exams.actions.images import NewImages, note_images

    exam = makers.make_exam()
    note_images(
        NewImages(exam.procedure.study_instance_uid, "qido", series_count=3, instance_count=388),
        by=person("epic"), exam=exam,
    )  # fmt: skip
    page = theo.get(f"/exams/{exam.pk}").content.decode()
    assert "388 in the archive" in page
    theo.post(f"/exams/{exam.pk}/complete", {"series_count": "3", "image_count": "412"})
    (event,) = ExamEvent.objects.filter(exam=exam)
    assert event.text == "Completed with images missing: 412 sent, 388 in the archive."


def test_the_pages_take_what_a_person_taps(theo: Client) -> None:
    """Events, withdrawal by Undo, talk, dose, change: each is one POST, and the live part answers news only."""
    exam = makers.make_exam()
    url = f"/exams/{exam.pk}"
    page = theo.get(url).content.decode()
    version = page.split(f'data-live="{url}/live" data-live-version="')[1].split('"')[0]
    live = {"X-Live": "1"}
    assert theo.get(f"{url}/live?since={version}", headers=live).status_code == 204
    told = theo.post(f"{url}/events", {"kind": "moved"}, headers={"HX-Request": "true"})
    assert "Moved" in told.content.decode()
    event = ExamEvent.objects.get()
    assert f"/events/{event.pk}/withdraw?undo=1" in told.headers["HX-Trigger"]
    assert theo.get(f"{url}/live?since={version}", headers=live).status_code == 200
    theo.post(f"{url}/events/{event.pk}/withdraw?undo=1")
    assert ExamEvent.objects.get(kind="withdrawn").text == "Taken back at once"
    assert theo.post(f"{url}/dose", {"dlp_mgycm": "12", "ctdivol_mgy": ""}).status_code == 303
    assert theo.post(f"{url}/dose", {}).status_code == 422
    assert theo.post(f"{url}/change", {"reason": "x"}).status_code == 422
    assert theo.post(f"/orders/{exam.order_id}/talk", {"text": "Go on?"}).status_code == 303
    assert "Go on?" in theo.get(f"/orders/{exam.order_id}/talk").content.decode()
    assert theo.get("/exams/quality").status_code == 200
    assert theo.get("/rooms/portable").status_code == 200
    theo.force_login(person("rita"))
    theo.post(f"/orders/{exam.order_id}/talk/seen")
    assert ExamMessage.objects.get().receipts.get().reader == person("rita")


def test_a_level_is_kept_by_who_may_change_the_department(client: Client) -> None:
    client.force_login(person("ada"))
    told = {"modality": "CT", "body_part": "Head", "quantity": "dlp_mgycm", "value": "900", "source": "BfS 2022",
            "valid_from": "2026-01-01", "active": "on"}  # fmt: skip
    kind = makers.make_procedure_type()
    assert client.post("/admin/dose-levels/new", {**told, "procedure_type": kind.pk}).status_code == 422
    assert client.post("/admin/dose-levels/new", told).status_code == 303
    assert "BfS 2022" in client.get("/admin/dose-levels").content.decode()
    client.force_login(person("mona"))
    assert client.get("/admin/dose-levels").status_code == 200
    assert client.post("/admin/dose-levels/new", told).status_code == 403
