"""What comes in over MLLP is stored, applied once, and answered as it deserves."""

import pytest

from interfaces.models import InboundMessage
from ris.events.models import Event
from ris.orders.models import Order
from ris.patients.models import Patient, PatientIdentifier, Visit
from tests.interfaces.hl7.samples import adt, group, msh, orm, pid
from tests.peers.emr import Line


def test_an_a04_registers_the_patient_and_the_visit(line: Line) -> None:
    message = adt()
    ack = line.send(message)
    assert (ack.code, ack.answers) == ("AA", "T" + message.split("|T")[1].split("|")[0])
    patient = Patient.objects.get()
    assert (patient.family, patient.given, patient.prefix, patient.birth_date, patient.sex) == (
        "OKAFOR", "ADAEZE", "MRS", "1968-07-14", "F",
    )  # fmt: skip
    assert PatientIdentifier.objects.values_list("value", "authority", "type").get() == (
        "004417268",
        "HOSP",
        "MR",
    )
    visit = Visit.objects.get()
    assert (visit.number, visit.patient_class, visit.location) == ("V131-1", "O", "RAD^CT1")
    assert visit.referring is not None
    assert visit.referring.family == "NELL"
    stored = InboundMessage.objects.get()
    assert (stored.status, stored.ack_code, stored.type) == ("processed", "AA", "ADT^A04")
    assert bytes(stored.raw) == message.encode()
    assert bytes(stored.ack or b"") == ack.raw
    assert stored.patient == patient


def test_an_order_waits_to_be_booked(line: Line) -> None:
    ack = line.send(orm())
    assert ack.code == "AA"
    order = Order.objects.get()
    assert (order.placer_order_number, order.placer_authority, order.placer_group_number) == (
        "A1",
        "EMR",
        "G7",
    )
    assert (order.status, order.priority, order.reason) == ("requested", "stat", "Headache")
    assert (order.clinical_info, order.danger_code, order.transport) == ("headache since May", "MRSA", "WALK")
    assert order.ordering is not None
    assert order.ordering.family == "ESTRADA"
    assert order.callback_phone == "(314)555-1212"
    assert order.entered_at_organization == "922229-10^IHE-RAD^IHE-CODE-231"
    assert order.wanted_at is not None
    assert order.wanted_at.isoformat() == "2026-03-02T14:00:00+00:00"
    assert order.source == "anybody"
    procedure = order.procedures.get()
    assert (procedure.code, procedure.code_scheme, procedure.side) == ("CTHEAD", "L", "")
    assert procedure.procedure_type is not None
    assert InboundMessage.objects.get().accession_number == order.accession_number
    assert order.patient.family == "OKAFOR"


def test_an_unknown_exam_is_kept_for_a_person(line: Line) -> None:
    assert line.send(orm(code="P1^Procedure 1^ERL_MESA")).code == "AA"
    procedure = Order.objects.get().procedures.get()
    assert procedure.procedure_type is None
    assert (procedure.code, procedure.code_text, procedure.side) == ("P1", "Procedure 1", "R")


def test_several_orders_in_one_message_are_placed_together_or_not_at_all(line: Line) -> None:
    both = orm(number="A1^EMR") + group(number="A2^EMR") + "\r"
    assert line.send(both).code == "AA"
    assert Order.objects.count() == 2
    bad = orm(number="A3^EMR") + group(number="A2^EMR") + "\r"
    ack = line.send(bad)
    assert (ack.code, ack.error, ack.location) == ("AE", "205", "ORC-2")
    assert Order.objects.count() == 2
    assert Event.objects.filter(kind="order.placed").count() == 2


def test_an_order_changes_nothing_of_a_known_patient_but_an_older_adt_does(line: Line) -> None:
    """The EMR's ADT is the source of demographics; an order only fills the gap of an unknown patient."""
    line.send(orm(person=pid(name="OKAFOR^ADA")))
    assert Patient.objects.get().given == "ADA"
    line.send(orm(number="A2^EMR", person=pid(name="SOMEBODY^ELSE")))
    assert Patient.objects.get().family == "OKAFOR"
    line.send(adt("A08", person=pid(name="OKAFOR^ADAEZE")))
    assert Patient.objects.get().given == "ADAEZE"


def test_an_empty_field_keeps_and_two_quotes_delete(line: Line) -> None:
    line.send(adt(person=pid(rest="||1 MAIN ST^^SALEM^MA^01970||5550001111~x^NET^Internet^ada@example.org")))
    patient = Patient.objects.get()
    assert (patient.phone, patient.email) == ("5550001111", "ada@example.org")
    assert patient.address == "1 MAIN ST, SALEM, MA 01970"
    line.send(adt("A08"))
    patient.refresh_from_db()
    assert patient.phone == "5550001111"
    line.send(adt("A08", person=pid(name='OKAFOR^ADAEZE^^^""', rest='||||""')))
    patient.refresh_from_db()
    assert (patient.phone, patient.prefix) == ("", "")


def test_names_come_in_every_alphabet(line: Line) -> None:
    japanese = adt(person=pid(name="Yamada^Tarou=山田^太郎=やまだ^たろう"), charset="ISO IR6~ISO IR87")
    assert line.send(japanese.encode("iso2022_jp")).code == "AA"
    patient = Patient.objects.get()
    assert (patient.family, patient.ideographic, patient.phonetic) == ("Yamada", "山田^太郎", "やまだ^たろう")
    latin = adt(person=pid("2", name="NÚÑEZ^JOSÉ"), pv1="PV1||O", charset="8859/1")
    assert line.send(latin.encode("iso-8859-1")).code == "AA"
    assert Patient.objects.filter(family="NÚÑEZ", given="JOSÉ").exists()


def test_a_cancel_needs_no_more_than_the_order_number(line: Line) -> None:
    line.send(orm())
    ack = line.send("\r".join([msh("ORM^O01"), "ORC|CA|A1^EMR", ""]))
    assert ack.code == "AA"
    assert Order.objects.get().status == "cancelled"


def test_a_cancel_may_name_the_order_by_our_number(line: Line) -> None:
    line.send(orm())
    order = Order.objects.get()
    assert line.send("\r".join([msh("ORM^O01"), f"ORC|CA||{order.accession_number}", ""])).code == "AA"
    order.refresh_from_db()
    assert order.status == "cancelled"


def test_the_namespace_belongs_to_the_number(line: Line) -> None:
    line.send(orm())
    ack = line.send("\r".join([msh("ORM^O01"), "ORC|CA|A1^OTHER", ""]))
    assert (ack.code, ack.error, ack.location) == ("AE", "204", "ORC-2")
    assert Order.objects.get().status == "requested"


def test_a_cancel_that_names_another_patient_is_refused(line: Line) -> None:
    line.send(orm())
    line.send(adt(person=pid("77", name="OTHER^ONE"), pv1="PV1||O"))
    ack = line.send(orm("CA", person=pid("77", name="OTHER^ONE")))
    assert (ack.code, ack.location) == ("AE", "PID-3")
    assert Order.objects.get().status == "requested"


def test_a_change_changes_what_it_says(line: Line) -> None:
    line.send(orm())
    changed = orm(
        "XO", timing="1^once^^^^R", obr="OBR|1|A1^EMR||CTHEAD^CT head^L|||||||||||||||||||||||||||Fall"
    )
    assert line.send(changed).code == "AA"
    order = Order.objects.get()
    assert (order.priority, order.reason, order.clinical_info) == ("routine", "Fall", "headache since May")
    other = line.send(orm("XO", code="MRHEAD^MR head^L"))
    assert (other.code, other.location) == ("AE", "OBR-4")


def test_a_held_order_can_be_released(line: Line) -> None:
    line.send(orm())
    assert line.send(orm("HD")).code == "AA"
    assert Order.objects.get().status == "held"
    assert line.send(orm("RL")).code == "AA"
    assert Order.objects.get().status == "requested"


@pytest.mark.parametrize("version", ["2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.8"])
def test_versions_are_read_alike(line: Line, version: str) -> None:
    ack = line.send(orm(version=version))
    assert (ack.code, ack.field("MSH", 12)) == ("AA", version)
    assert Order.objects.get().priority == "stat"


def test_omg_carries_time_and_priority_in_tq1(line: Line) -> None:
    lines = orm(kind="OMG^O19^OMG_O19", version="2.5.1", timing="").split("\r")
    lines.insert(4, "TQ1|1||||||20260302090000-0500||A")
    assert line.send("\r".join(lines)).code == "AA"
    order = Order.objects.get()
    assert (order.priority, order.wanted_at and order.wanted_at.isoformat()) == (
        "asap",
        "2026-03-02T14:00:00+00:00",
    )


@pytest.mark.parametrize(
    ("message", "code", "error", "location"),
    [
        (orm(number=""), "AE", "101", "ORC-2"),
        (orm(control=""), "AE", "101", "ORC-1"),
        (orm(control="SC"), "AE", "103", "ORC-1"),
        (orm(code=""), "AE", "101", "OBR-4"),
        (orm(timing="1^once^^20260431^^S"), "AE", "102", "ORC-7"),
        (orm(timing="1^once^^^^X"), "AE", "103", "ORC-7"),
        (orm(person="PID|||||OKAFOR^ADAEZE"), "AE", "101", "PID-3"),
        (adt(person=pid(born="20260431")), "AE", "102", "PID-7"),
        (adt(person=pid(sex="X")), "AE", "103", "PID-8"),
        (adt(person=pid(name="")), "AE", "101", "PID-5"),
        ("\r".join([msh("ADT^A04"), "EVN||2026", ""]), "AE", "100", "PID"),
        ("\r".join([msh("ORM^O01"), pid(), ""]), "AE", "100", "ORC"),
        ("\r".join([msh("ORM^O01"), pid(), "ORC|NW|A1^EMR", ""]), "AE", "100", "OBR"),
        (adt("A40"), "AE", "100", "MRG"),
        (adt("Q99"), "AR", "201", "MSH-9"),
        ("\r".join([msh("ZZZ^Z01"), ""]), "AR", "200", "MSH-9"),
        ("\r".join([msh("ORU^R01"), ""]), "AR", "200", "MSH-9"),
        (adt(version="2.9"), "AR", "203", "MSH-12"),
        (adt(version="1"), "AR", "203", "MSH-12"),
        (adt(processing="T"), "AR", "202", "MSH-11"),
        (adt(control_id=""), "AR", "101", "MSH-10"),
    ],
    ids=lambda value: value if len(value) < 8 else "",
)
def test_what_cannot_be_done_is_refused_with_code_and_place(
    line: Line, message: str, code: str, error: str, location: str
) -> None:
    ack = line.send(message)
    assert (ack.code, ack.error, ack.location) == (code, error, location)
    assert not Order.objects.exists()
    assert not Patient.objects.exists()
    assert not Event.objects.filter(kind__startswith="patient.").exists()
    stored = InboundMessage.objects.get()
    assert (stored.status, bytes(stored.raw)) == ("rejected", message.encode())
    assert line.send(adt(person=pid("1"))).code == "AA"


def test_from_2_5_on_the_refusal_says_what_is_wrong_in_words(line: Line) -> None:
    ack = line.send(adt(version="2.5.1", person=pid(born="20260431")))
    assert (ack.field("ERR", 2), ack.field("ERR", 3)) == ("PID^1^7", "102^Data type error^HL70357")
    assert (ack.field("ERR", 4), ack.field("MSH", 9)) == ("E", "ACK^A04^ACK")
    assert ack.field("ERR", 8).startswith("PID-7: There is no such date")


def test_before_2_5_the_refusal_has_one_field(line: Line) -> None:
    ack = line.send(adt(version="2.3.1", person=pid(born="20260431")))
    assert ack.field("ERR", 1) == "PID^1^7^102&Data type error&HL70357"
    assert (ack.field("MSH", 9), ack.text[:6]) == ("ACK^A04", "PID-7:")


def test_the_answer_swaps_sender_and_receiver(line: Line) -> None:
    ack = line.send(adt(app="EPIC^1.2^ISO", facility="NORTH"))
    assert [ack.field("MSH", n) for n in (3, 4, 5, 6)] == ["LIGHTBOX", "HARBOUR", "EPIC^1.2^ISO", "NORTH"]
    assert 0 < len(ack.field("MSH", 10)) <= 20


def test_an_older_message_does_not_overwrite_a_newer(line: Line) -> None:
    line.send(adt(person=pid(name="NEW^NAME")))
    old = adt("A08", person=pid(name="OLD^NAME")).replace("20260301115900", "20260228000000")
    assert line.send(old).code == "AA"
    assert Patient.objects.get().family == "NEW"


def test_numbers_of_two_patients_in_one_message_are_refused(line: Line) -> None:
    line.send(adt(person=pid("1"), pv1="PV1||O"))
    line.send(adt(person=pid("2"), pv1="PV1||O"))
    ack = line.send(adt("A08", person="PID|||1^^^HOSP~2^^^HOSP||BOTH^OF", pv1="PV1||O"))
    assert (ack.code, ack.location) == ("AE", "PID-3")
    assert not Patient.objects.filter(family="BOTH").exists()
