"""Charges over HL7 (RAD-35): what a billing office hears, what is credited, what waits."""

from decimal import Decimal
from typing import Any

import pytest
from hl7apy.parser import parse_message

from billing.actions import NewFee, capture_charge, hold_charge, release_charge, set_fee, void_charge
from billing.models import Charge
from billing.states import ChargeStatus, Component
from interfaces import engine
from interfaces.actions import configure_endpoint, resend
from interfaces.hl7 import answers, sender
from interfaces.models import Endpoint, OutboundMessage
from interfaces.states import OutboundState
from ris.accounts.models import system_user
from ris.events.outbox import relay_all
from ris.exams import actions as exams
from ris.exams.actions import (
    NewAdministration,
    NewPerformedStep,
    PerformedChange,
    ScheduledReference,
    administer,
    withdraw_administration,
)
from ris.exams.models import Exam
from ris.orders.actions import change_order, change_procedure
from ris.orders.models import Order
from ris.patients.actions import NewVisit, open_visit
from ris.patients.merge_actions import merge_patients
from ris.reporting import actions as reporting
from ris.supplies.actions import know_lot
from tests.cast import person
from tests.interfaces.hl7.samples import DATA
from tests.interfaces.hl7.test_telling import check, partner, placed
from tests.makers import (
    make_appointment,
    make_exam,
    make_item,
    make_order,
    make_patient,
    make_practitioner,
    make_procedure_type,
    make_report,
    next_hour,
)
from tests.peers.emr import Emr, Entry

pytestmark = pytest.mark.django_db

DIAGNOSIS = {"code": "R10.11", "text": "Right upper quadrant pain", "scheme": "I10"}


@pytest.fixture(autouse=True)
def _prices(db: None) -> None:
    for code, amount, name in (("CT-T", 180, "CT head, technical"), ("CT-P", 90, "CT head, reading")):
        set_fee(NewFee(code, Decimal(amount), name), by=person("ben"))


def office(name: str = "office", **profile: str) -> Endpoint:
    return partner(name, "charges", profile=profile)


def examined(order: Order | None = None) -> Exam:
    order = order or placed(diagnoses=(DIAGNOSIS,))
    make_appointment(order, start=next_hour())
    return make_exam(order, completed=True)


def told(name: str = "office") -> list[Entry]:
    relay_all()
    rows = OutboundMessage.objects.filter(endpoint__name=name).exclude(status=OutboundState.DISCARDED)
    return [
        Entry(one.control_id, one.type, bytes(one.raw).decode("latin-1"), "", 0, 0)
        for one in rows.order_by("pk")
    ]


def gist(name: str = "office") -> list[tuple[str, str, str]]:
    """FT1-6, FT1-7.1 and FT1-26 of each message's first line."""
    return [
        (one.field("FT1", 6), one.field("FT1", 7).split("^")[0], one.field("FT1", 26)) for one in told(name)
    ]


def answer(name: str = "office", code: str = "AA") -> None:
    """The office takes, or refuses, what it has not answered yet; as the sender notes it."""
    relay_all()
    for message in OutboundMessage.objects.filter(endpoint__name=name, status=OutboundState.QUEUED):
        engine.mark_sent(message)
        if code == "AA":
            assert engine.mark_accepted(message, code=code, answer=b"MSA|AA")
            answers.accepted(message, "AA")
        else:
            engine.mark_refused(message, code=code, answer=b"MSA|AE", text="No", retry_in=None)
    relay_all()


def only_charge(component: str = Component.TECHNICAL) -> Charge:
    return Charge.objects.get(component=component)


# What is sent


def test_the_work_is_charged_as_it_is_done_and_the_reading_as_it_is_signed() -> None:
    """CHG-04, CHG-05, CHG-13, CHG-14, SCN-13: TC when the exam is complete, 26 when the report is final."""
    office()
    exam = examined()
    assert gist() == [("CG", "CT-T", "TC")]
    report = make_report(exam)
    assert len(gist()) == 1
    reporting.sign_report(report, version=report.draft.version, by=person("rita"))
    assert gist() == [("CG", "CT-T", "TC"), ("CG", "CT-P", "26")]
    assert [one.field("PR1", 16) for one in told()] == ["TC", "26"]
    assert told()[0].field("FT1", 2) != told()[1].field("FT1", 2)


@pytest.mark.parametrize("version", ["2.3.1", "2.4", "2.5.1"])
def test_a_charge_says_what_the_office_books_by(version: str) -> None:
    """CHG-01 to CHG-13, ORA-9: field by field, and another parser finds nothing against it."""
    partner("office", "charges", hl7_version=version)
    order = placed(diagnoses=(DIAGNOSIS,))
    make_report(examined(order), signed=True)
    technical, professional = told()
    exam = order.exams.get()

    def written(message: Entry, name: str, position: int) -> str:
        return message.field(name, position).partition("-0")[0].partition("+")[0]

    ended = exam.ended_at.astimezone(next_hour().tzinfo).strftime("%Y%m%d%H%M%S") if exam.ended_at else ""
    for message, modifier, code, performer in (
        (technical, "TC", "CT-T^CT head, technical^L", "theo^Technologist^Theo"),
        (professional, "26", "CT-P^CT head, reading^L", "rita^Radiologist^Rita"),
    ):
        assert message.field("MSH", 9) == ("DFT^P03" if version == "2.3.1" else "DFT^P03^DFT_P03")
        assert message.field("EVN", 2)[:14].isdigit()
        assert message.field("PID", 18) == "131-001"
        assert written(message, "FT1", 4) == ended
        assert message.field("FT1", 5) >= message.field("FT1", 4)
        assert (message.field("FT1", 6), message.field("FT1", 7)) == ("CG", code)
        assert message.field("FT1", 10) == "1"
        assert message.field("FT1", 11) == ("180.00&USD" if modifier == "TC" else "90.00&USD")
        assert message.field("FT1", 13) == "HARBOUR^Harbour Imaging^L"
        assert message.field("FT1", 16) == "1W^111^2^XYZ"
        assert message.field("FT1", 18) == "E"
        assert message.field("FT1", 19) == "R10.11^Right upper quadrant pain^I10"
        assert message.field("FT1", 20).startswith(performer)
        assert message.field("FT1", 21).startswith("LINDGREN^Lindgren^Maja^^^Dr")
        assert message.field("FT1", 23) == f"{order.accession_number}^LIGHTBOX"
        assert message.field("FT1", 25) == message.field("PR1", 3) == "CTHEAD^CT head^L"
        assert message.field("FT1", 26) == message.field("PR1", 16) == modifier
        assert (message.field("PR1", 1), message.field("PR1", 6)) == ("1", "D")
        assert message.field("PR1", 5)[:14].isdigit()
        assert message.field("DG1", 3) == "R10.11^Right upper quadrant pain^I10"
        assert parse_message(message.raw.decode()).validate()


def test_charges_pass_the_field_checks_of_the_ihe_tests() -> None:
    """ORA-9, SCN-13: and fill what their sample of a technical charge fills."""
    if not DATA.exists():
        pytest.skip("no sample messages beside the repository")
    office()
    make_report(examined(), signed=True)
    sample = Entry("", "", next((DATA / "hl7-samples").glob("16-*")).read_bytes().decode(), "", 0, 0)
    for message in told():
        check(message, "ordfil/dft_p03_format.ini")
        for name in ("PID", "FT1", "PR1"):
            for position, value in enumerate(sample.all(name)[0][1:], 1):
                # Race and address are the patient's who has them.
                if value and (name, position) not in {("PID", 10), ("PID", 11)}:
                    assert message.field(name, position), f"{name}-{position}"
    assert (sample.field("FT1", 6), sample.field("PR1", 6), sample.field("PR1", 16)) == ("CG", "D", "TC")


@pytest.mark.parametrize(("chosen", "heard"), [
    ("both", [("CG", "CT-T", "TC"), ("CG", "CT-P", "26")]),
    ("technical", [("CG", "CT-T", "TC")]),
    ("professional", [("CG", "CT-P", "26")]),
    ("global", [("CG", "CT-T", "")]),
])  # fmt: skip
def test_an_office_hears_of_its_half_or_of_the_whole_service(
    chosen: str, heard: list[tuple[str, str, str]]
) -> None:
    """CHG-14: a practice of its own bills the whole when the report is final, without TC and 26."""
    office(charge_components=chosen)
    exam = examined()
    if chosen == "global":
        assert gist() == []
    make_report(exam, signed=True)
    assert gist() == heard
    if chosen == "global":
        assert told()[0].field("FT1", 11) == "270.00&USD"
        answer()
        assert set(Charge.objects.values_list("status", flat=True)) == {ChargeStatus.SENT}


@pytest.mark.parametrize(("side", "chosen", "quantity", "modifiers"), [
    ("L", "modifier", "1", "TC~LT"), ("R", "quantity", "1", "TC~RT"), ("B", "modifier", "1", "TC~50"),
    ("B", "quantity", "2", "TC"),
])  # fmt: skip
def test_sides_are_modifiers_or_both_sides_a_quantity(
    side: str, chosen: str, quantity: str, modifiers: str
) -> None:
    """CHG-06, CHG-10."""
    office(bilateral=chosen)
    kind = make_procedure_type("CTHAND", name="CT hand", laterality="required")
    examined(placed(procedure_type=kind, side=side))
    (message,) = told()
    assert (message.field("FT1", 10), message.field("FT1", 26)) == (quantity, modifiers)


def test_what_the_modality_used_is_charged_with_the_exam() -> None:
    """CHG-16, SCN-09: billing codes, contrast and films of the MPPS, each a line under its charge's number."""
    office()
    order = placed()
    make_appointment(order)
    procedure = order.procedures.get()

    def code(value: str, meaning: str, scheme: str = "HCPCS") -> dict[str, Any]:
        tags = {"00080100": value, "00080102": scheme, "00080104": meaning}
        return {tag: {"vr": "SH", "Value": [text]} for tag, text in tags.items()}

    def sequence(*items: dict[str, Any]) -> dict[str, Any]:
        return {"vr": "SQ", "Value": list(items)}

    uid = "2.25.4711"
    exams.begin_performed_step(
        NewPerformedStep(
            uid, "CT1", "CT", next_hour(-1), (ScheduledReference(procedure.study_instance_uid),),
            attributes={"00081070": {"vr": "PN", "Value": [{"Alphabetic": "MOYER^JANE"}]}},
        ),
        by=person("epic"),
    )  # fmt: skip
    supply = {
        "00400293": sequence({"00400294": {"vr": "DS", "Value": [80]}}), "00400296": sequence(code("Q9967", "LOCM")),
    }  # fmt: skip
    film = {"21000170": {"vr": "IS", "Value": [2]}, "20100050": {"vr": "CS", "Value": ["14INX17IN"]}}
    used = {
        "00400320": sequence(code("74177", "CT abdomen")), "00400324": sequence(supply), "00400321": sequence(film),
    }  # fmt: skip
    exams.complete_performed_step(
        uid, PerformedChange(attributes=used, ended_at=next_hour(0)), by=person("epic")
    )
    (message,) = told()
    number = message.field("FT1", 2)
    assert [(row[1], row[2], row[7], row[10]) for row in message.all("FT1")] == [
        ("1", number, "CT-T^CT head, technical^L", "1"), ("2", f"{number}.1", "74177^CT abdomen^HCPCS", "1"),
        ("3", f"{number}.2", "Q9967^LOCM^HCPCS", "80"), ("4", f"{number}.3", "FILM^14INX17IN^L", "2"),
    ]  # fmt: skip
    assert {row[20] for row in message.all("FT1")} == {"^MOYER^JANE"}
    assert parse_message(message.raw.decode()).validate()


def test_what_was_scanned_in_the_room_is_charged_by_its_quantity_and_credited_with_its_entry() -> None:
    """CHG-15, CHG-16: a charge of its own, whichever halves the partner takes."""
    office(charge_components="technical")
    set_fee(NewFee("CON", Decimal("0.50"), "Contrast, each mL"), by=person("ben"))
    item = make_item(charge_code="CON", charged_by="ml")
    lot = know_lot(item, "4471", next_hour(9000).date())
    exam = make_exam(placed())
    given = administer(
        exam, NewAdministration(lot=lot, volume_ml=Decimal(70), acknowledged=True), by=person("theo")
    )
    (message,) = told()
    assert [message.field("FT1", field) for field in (6, 7, 10, 11, 26)] == [
        "CG", "CON^Contrast, each mL^L", "70", "35.00&USD", "",
    ]  # fmt: skip
    answer()
    withdraw_administration(given, reason="Wrong vial", by=person("theo"))
    assert [one.field("FT1", 6) for one in told()] == ["CG", "CD"]
    assert parse_message(message.raw.decode()).validate()


@pytest.mark.django_db(transaction=True)
def test_a_charge_is_sent_once_the_office_has_answered(emr: Emr) -> None:
    """CHG-15: over the wire, refused and then taken."""
    partner("office", "charges", address=emr.address)
    examined()
    relay_all()
    (message,) = OutboundMessage.objects.all()
    emr.answer = lambda entry: "AE"
    assert sender.drain(message.endpoint_id, linger=0) == 1
    relay_all()
    assert only_charge().status == "captured"
    emr.answer = lambda entry: "AA"
    resend(message, by=person("ada"))
    assert sender.drain(message.endpoint_id, linger=0) == 1
    relay_all()
    assert (only_charge().status, only_charge().sent_as) == ("sent", f"office {message.control_id}")
    assert [entry.field("FT1", 6) for entry in emr.entries()] == ["CG", "CG"]


# Credits


def test_what_was_sent_is_credited_under_its_number_and_charged_anew() -> None:
    """CHG-09, CHG-15: a sent charge is never edited."""
    office()
    exam = examined()
    answer()
    charge = only_charge()
    assert (charge.status, charge.sent_as) == ("sent", f"office {told()[0].control_id}")
    assert charge.sent_at
    void_charge(charge, reason="Wrong code", by=person("ben"))
    capture_charge(exam, Component.TECHNICAL, by=person("ben"))
    first, credit, second = told()
    assert [one.field("FT1", 6) for one in (first, credit, second)] == ["CG", "CD", "CG"]
    assert credit.field("FT1", 2) == first.field("FT1", 2) != second.field("FT1", 2)
    for position in (4, 7, 11, 25):
        assert credit.field("FT1", position) == first.field("FT1", position)
    answer()
    assert [one.status for one in Charge.objects.order_by("pk")] == ["voided", "sent"]


@pytest.mark.parametrize(
    ("before", "kept"), [("queued", []), ("AE", []), ("AA", ["CG", "CD"]), ("lost", ["CG", "CD"])]
)
def test_a_credit_goes_only_to_who_may_have_the_charge(before: str, kept: list[str]) -> None:
    """CHG-15: a charge that has not left, or was refused, is simply taken back."""
    office()
    examined()
    relay_all()
    if before == "lost":
        message = OutboundMessage.objects.get()
        engine.mark_sent(message)
        engine.mark_unanswered(
            message, message.endpoint, answer=None, text="", retry_in=engine.back_off(1, 0)
        )
    elif before != "queued":
        answer(code=before)
    void_charge(only_charge(), reason="Exam not done", by=person("ben"))
    assert [one.field("FT1", 6) for one in told()] == kept


def test_a_commit_is_an_acceptance_where_the_application_will_not_say_more() -> None:
    """MLLP-08: in enhanced mode a charge counts as sent when its application has taken it."""
    endpoint = office(acks="enhanced")
    examined()
    relay_all()
    message = OutboundMessage.objects.get()
    for acks, code, status in (("enhanced", "CA", "captured"), ("commit", "CA", "sent")):
        configure_endpoint(endpoint.name, {"profile": {"acks": acks}}, by=system_user("shell"))
        message = OutboundMessage.objects.get(pk=message.pk)
        answers.accepted(message, code)
        relay_all()
        assert only_charge().status == status


def test_a_held_charge_does_not_leave_and_a_released_one_leaves_once() -> None:
    """CHG-17."""
    office()
    examined()
    assert len(told()) == 1
    hold_charge(only_charge(), reason="No authorization number", by=person("ben"))
    assert told() == []
    release_charge(only_charge(), by=person("ben"))
    assert gist() == [("CG", "CT-T", "TC")]
    # Held while it is on its way: taken all the same.
    relay_all()
    message = OutboundMessage.objects.get(status=OutboundState.QUEUED)
    engine.mark_sent(message)
    hold_charge(only_charge(), reason="Wrong code", by=person("ben"))
    relay_all()
    engine.mark_accepted(message, code="AA", answer=b"")
    answers.accepted(message, "AA")
    relay_all()
    assert only_charge().status == "sent"


def test_the_reading_that_is_withdrawn_and_the_exam_that_was_another_are_credited() -> None:
    """CHG-15: a withdrawn report; SCN-11: the code of what was performed."""
    office()
    exam = examined()
    report = make_report(exam, signed=True)
    answer()
    reporting.withdraw_report(report, "wrong_patient", by=person("rita"))
    assert gist()[2:] == [("CD", "CT-P", "26")]
    other = make_order(make_patient("Other"), code="CTHEAD", procedure_type=make_procedure_type())
    make_appointment(other, start=next_hour(4))
    make_exam(other, completed=True)
    answer()
    set_fee(NewFee("NECK-T", Decimal(200)), by=person("ben"))
    neck = make_procedure_type("CTNECK", name="CT neck", technical_code="NECK-T")
    change_procedure(other.procedures.get(), neck, by=person("theo"))
    # The credit repeats what was charged, the new charge says what was done.
    assert gist()[4:] == [("CD", "CT-T", "TC"), ("CG", "NECK-T", "TC")]


# What waits, and what is not charged


@pytest.mark.parametrize("needs", ["account", "diagnosis", "account,diagnosis"])
def test_a_charge_waits_for_what_its_receiver_needs_and_goes_when_it_has_come(needs: str) -> None:
    """CHG-17: account from the visit, diagnosis from the order."""
    office(charge_needs=needs)
    patient = make_patient()
    order = make_order(patient)
    examined(order)
    assert told() == []
    charge = only_charge()
    assert charge.status == "held"
    assert charge.reason in ("The visit and its account are not known", "The order has no diagnosis")
    release_charge(charge, by=person("ben"))  # a person cannot give what is not there
    assert told() == []
    clara = person("clara")
    visit = open_visit(patient, NewVisit(number="V9"), by=clara)
    if "account" in needs:
        change_order(order, {"visit": visit}, by=clara)
        assert len(told()) == (needs == "account")
    if "diagnosis" in needs:
        change_order(order, {"diagnoses": [DIAGNOSIS]}, by=clara)
    (message,) = told()
    assert message.field("PID", 18) == ("V9" if "account" in needs else "")
    assert bool(message.all("DG1")) == ("diagnosis" in needs)
    assert only_charge().status == "captured"


def test_a_stopped_exam_is_charged_only_where_the_profile_says_how() -> None:
    """CHG-18, SCN-08, SCN-16: nothing for a wrong entry or a cancelled order; a modifier by rule for a started one."""
    office()
    office("reduced", stopped_exam="53")
    for family, code in (("Adams", "110503"), ("Brown", "110514"), ("Clark", "110501")):
        exam = make_exam(placed(patient=make_patient(family), placer_order_number=family))
        exams.discontinue_exam(exam, code=code, by=person("theo"))
    assert gist("reduced") == [("CG", "CT-T", "TC~53")]
    assert told("reduced")[0].field("PID", 5).startswith("Adams")
    assert Charge.objects.count() == 1


def test_a_charge_that_still_waits_leaves_with_the_survivor_and_the_account_of_now() -> None:
    """CHG-19: A40, and an account that changes by A06 before the charge has left; what has left stays as it was."""
    office()
    order = placed()
    examined(order)
    old, survivor = order.patient, make_patient("Survivor", mrn="4711")
    assert told()[0].field("PID", 5).startswith("Okafor")
    merge_patients(survivor, old, by=person("epic"))
    (message,) = told()
    assert message.field("PID", 5).startswith("Survivor")
    assert message.field("PID", 3).startswith("4711^^^HARBOUR^MR")
    visit = order.visit
    assert visit is not None
    changed = NewVisit(
        number=visit.number, authority=visit.authority, account="ACC-2", patient_class="I",
        referring=make_practitioner(),
    )  # fmt: skip
    open_visit(survivor, changed, by=person("epic"))
    (message,) = told()
    assert (message.field("PID", 18), message.field("FT1", 18)) == ("ACC-2", "I")
    answer()
    open_visit(
        survivor, NewVisit(number=visit.number, authority=visit.authority, account="ACC-3"), by=person("epic")
    )
    assert told()[0].field("PID", 18) == "ACC-2"
    assert only_charge().status == "sent"


def test_a_line_for_charges_alone_holds_what_may_have_arrived() -> None:
    """CHG-09: sent twice, a charge may be billed twice."""
    assert office().on_ambiguous == "hold"
    assert partner("both", "orders,charges").on_ambiguous == "resend"
    assert partner("brave", "charges", on_ambiguous="resend").on_ambiguous == "resend"


def test_a_charge_is_told_once_whoever_asks_again() -> None:
    office()
    exam = examined()
    capture_charge(exam, Component.TECHNICAL, by=person("ben"))
    assert len(told()) == 1
    configure_endpoint("office", {"facts": []}, by=system_user("shell"))
    make_report(exam, signed=True)
    assert len(told()) == 1
