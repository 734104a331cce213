"""What a placer may say about orders, and what it hears (RAD-2)."""

from decimal import Decimal

import pytest

from interfaces.models import Case, InboundMessage, OutboundMessage
from ris.events.outbox import relay_all
from ris.exams import actions as exams
from ris.orders.actions import map_procedure
from ris.orders.models import Order
from ris.patients.models import Patient
from tests.cast import person
from tests.interfaces.hl7.orders import mapped, message, new, said, send, sender, take, the_order
from tests.interfaces.hl7.samples import group, pid
from tests.interfaces.hl7.test_telling import partner
from tests.makers import (
    make_appointment,
    make_exam,
    make_facility,
    make_procedure_type,
    next_hour,
)

pytestmark = pytest.mark.django_db


# What comes with an order


def test_questions_diagnoses_and_measures_come_with_the_order() -> None:
    """ORD-13, OTH-C: OBX, DG1 and NTE after the OBR."""
    sender()
    told = [
        "NTE|1||Comes with her daughter",
        "DG1|1||R51.9^Headache, unspecified^I10",
        "OBX|1|CWE|11449-6^Pregnancy status^LN||60001007^Not pregnant^SCT||||||F",
        "OBX|2|NM|2160-0^Creatinine^LN||1.1|mg/dL|||||F",
        "OBX|3|ST|METAL^Metal in the body^L||Hip, left~Tooth||||||F",
        "OBX|4|ST|OLD^Withdrawn^L||x||||||D",
        "OBX|5|NM|29463-7^Body weight^LN||143.3|[lb_av]|||||F",
        "OBX|6|NM|^Body Height||165|cm|||||F",
    ]
    assert said(send(new("A1^EMR", "NW", *told))) == "AA"
    order = the_order()
    assert [(one["code"], one["question"], one["value"], one["units"]) for one in order.answers] == [
        ("11449-6", "Pregnancy status", "Not pregnant", ""),
        ("2160-0", "Creatinine", "1.1", "mg/dL"),
        ("METAL", "Metal in the body", "Hip, left; Tooth", ""),
    ]
    assert order.diagnoses == [{"code": "R51.9", "text": "Headache, unspecified", "scheme": "I10"}]
    assert (order.weight_kg, order.height_m) == (Decimal("65.0"), Decimal("1.65"))
    assert order.clinical_info == "headache since May\nComes with her daughter"
    changed = new(
        "A1^EMR", "XO", "OBX|1|NM|2160-0^Creatinine^LN||1.4|mg/dL|||||F", "OBX|2|NM|8302-2||66|[in_i]"
    )
    assert said(send(changed)) == "AA"
    order.refresh_from_db()
    assert [one["value"] for one in order.answers] == ["1.4"]
    assert (order.height_m, order.weight_kg) == (Decimal("1.68"), Decimal("65.0"))


@pytest.mark.parametrize(
    ("obr", "more", "side"),
    [
        ("15=^^^^LT", (), "L"),
        ("44=RT", (), "R"),
        ("45=50", (), "B"),
        ("", ("OBX|1|CWE|SIDE^Laterality^L||R^Right^L||||||F",), "R"),
        ("", (), ""),
    ],
)
def test_the_side_comes_in_many_places(obr: str, more: tuple[str, ...], side: str) -> None:
    sender()
    make_procedure_type("XRWRIST", name="XR wrist", modality="DX", laterality="required")
    send(new("A1^EMR", "NW", *more, obr=request(obr, code="XRWRIST^XR wrist^L")))
    assert the_order().procedures.get().side == side


def request(fields: str = "", *, number: str = "A1^EMR", code: str = "CTHEAD^CT head^L") -> str:
    """An OBR with `POSITION=value` pairs."""
    values = {1: "1", 2: number, 4: code}
    values |= {
        int(place): value for place, _, value in (one.partition("=") for one in fields.split()) if place
    }
    return "OBR|" + "|".join(values.get(place, "") for place in range(1, max(values) + 1))


def test_the_oldest_senders_tell_urgency_in_obr_5_and_a_danger_in_obr_12() -> None:
    sender()
    send(new("A1^EMR", timing="", obr=request("5=S 12=MRSA^Isolation 41=A"), version="2.2"))
    order = the_order()
    assert (order.priority, order.danger_code, order.transport_arranged) == ("stat", "Isolation", "A")


def test_an_omi_places_an_order_too() -> None:
    """OMI^O23 with TQ1 before and IPC after the OBR."""
    sender(profile={"replies": "orr"})
    lines = [
        pid(), "PV1||O", "ORC|NW|A1^EMR", "TQ1|1||||||20260302090000-0500||A", request(number="A1^EMR"),
        "IPC|1|RP1|1.2.3^^^ISO|S1|CT|CTHEAD^CT head^L",
    ]  # fmt: skip
    answer = send(message(*lines, kind="OMI^O23^OMI_O23", version="2.5.1"))
    assert (said(answer), answer.field("MSH", 9)) == ("AA OK", "ORI^O24^ORI_O24")
    order = the_order()
    assert (order.priority, order.wanted_at and order.wanted_at.hour) == ("asap", 14)
    assert answer.field("IPC", 1).startswith(order.accession_number)
    assert order.procedures.get().study_instance_uid in answer.field("IPC", 3)


# The conversation


def started() -> None:
    make_exam(the_order())


#: (row, what was done before, the message, the answer without and with replies, the order's status then)
CONVERSATION = [
    ("ORD-01", None, new("A2^EMR"), "AA", "AA OK", "requested"),
    ("ORD-02", None, new("A1^EMR", "CA"), "AA", "AA CR", "cancelled"),
    ("ORD-02", started, new("A1^EMR", "CA"), "AE 207", "AA UC", "in_progress"),
    ("ORD-03", None, new("A1^EMR", "DC"), "AA", "AA DR", "cancelled"),
    ("ORD-03", started, new("A1^EMR", "DC"), "AA", "AA DR", "discontinued"),
    ("ORD-03", "done", new("A1^EMR", "DC"), "AE 207", "AA UD", "performed"),
    ("ORD-04", None, new("A1^EMR", "XO"), "AA", "AA XR", "requested"),
    ("ORD-04", started, new("A1^EMR", "XO", timing="1^once^^20260305^^S"), "AE 207", "AA UX", "in_progress"),
    ("ORD-06", None, new("A1^EMR", "HD"), "AA", "AA HR", "held"),
    ("ORD-06", started, new("A1^EMR", "HD"), "AE 207", "AA UH", "in_progress"),
    ("ORD-06", None, new("A1^EMR", "RL"), "AE 207", "AA UR", "requested"),
    ("ORD-07", None, new("A1^EMR", "SS"), "AA SR", "AA SR", "requested"),
    ("ORD-09", None, message("ORC|CA|A1^EMR"), "AA", "AA CR", "cancelled"),
    ("ORD-11", None, new("A1^EMR"), "AE 205", "AE 205", "requested"),
    ("ORD-12", None, message("ORC|CA|A9^EMR"), "AE 204", "AE 204", "requested"),
    ("ERR-02", None, message("ORC||A1^EMR"), "AE 101", "AE 101", "requested"),
]


@pytest.mark.parametrize("replies", ["no", "orr"])
def test_each_order_control_does_its_act_and_is_answered(replies: str) -> None:
    """ORD-01, ORD-02, ORD-03, ORD-04, ORD-06, ORD-07, ORD-09, ORD-11, ORD-12, ERR-02, ERR-06, ERR-07."""
    for number, (row, before, sent, plain, reply, status) in enumerate(CONVERSATION):
        name = f"E{number}"
        sender(name, match_application=name, profile={"replies": replies})
        header = f"MSH|^~\\&|{name}|"
        send(new("A1^EMR", app=name, person=pid(f"{number}")))
        order = Order.objects.get(source=name)
        if before is not None:
            make_exam(order, completed=before == "done")
        sent = sent.replace("MSH|^~\\&|EMR|", header).replace("004417268", f"{number}")
        answer = send(sent)
        assert said(answer) == (plain if replies == "no" else reply), (row, number)
        order = Order.objects.filter(source=name).latest("pk")
        assert order.status == status, (row, number)
        if answer.all("ORC") and answer.field("ORC", 1) not in {"UA"}:
            assert answer.field("MSH", 9) == "ORR^O02"
            assert answer.field("ORC", 3).startswith(order.accession_number)
            assert answer.field("PID", 3).startswith(f"{number}^")
    if replies == "no":
        answer = send(new("A1^EMR", "SS", app="E0"))
        assert (answer.field("ORC", 1), answer.field("ORC", 5)) == ("SR", "SC")


def test_several_orders_are_taken_together_or_not_at_all() -> None:
    """ORD-10: with replies too, an order that cannot be changed keeps the others from being changed."""
    sender(profile={"replies": "orr"})
    both = message(pid(), "PV1||O", group("NW", "A1^EMR"), group("NW", "A2^EMR"))
    assert said(send(both)) == "AA OK OK"
    assert set(Order.objects.values_list("placer_group_number", flat=True)) == {"G7"}
    make_exam(the_order("A2"))
    answer = send(message("ORC|CA|A1^EMR", "ORC|CA|A2^EMR"))
    assert said(answer) == "AA UC UC"
    assert [order.status for order in Order.objects.order_by("pk")] == ["requested", "in_progress"]
    assert answer.field("MSA", 3).startswith("This order is in progress")


def test_a_placer_replaces_an_order_and_its_time_is_kept() -> None:
    """ORD-05: RP and RO in one message."""
    sender(profile={"replies": "orr"})
    make_procedure_type("CTHEADC", name="CT head with contrast")
    send(new("A1^EMR"))
    planned = make_appointment(the_order(), start=next_hour(3))
    replace = [group("RP", "A1^EMR"), group("RO", "A2^EMR", code="CTHEADC^CT head with contrast^L")]
    answer = send(message(pid(), "PV1||O", *replace))
    assert said(answer) == "AA RQ RO"
    old, placed = the_order("A1"), the_order("A2")
    assert (old.status, placed.status, placed.replaces) == ("cancelled", "scheduled", old)
    assert placed.appointments.get().starts_at == planned.starts_at
    exams.start_exam(placed, by=person("theo"))
    again = [group("RP", "A2^EMR"), group("RO", "A3^EMR")]
    assert said(send(message(pid(), "PV1||O", *again))) == "AA UM UA"
    assert Order.objects.count() == 2
    assert said(send(message(pid(), "PV1||O", group("RP", "A2^EMR")))) == "AE 100"
    assert said(send(new("A4^EMR", "RO"))) == "AE 100"


def test_children_know_their_parent() -> None:
    """ORD-08: PA and CH with ORC-8, or OBR-29."""
    sender(profile={"replies": "orr"})
    family = [group("PA", "P1^EMR"), group("CH", "C1^EMR"), group("CH", "C2^EMR")]
    assert said(send(message(pid(), "PV1||O", *family))) == "AA OK OK OK"
    assert list(the_order("P1").children.values_list("placer_order_number", flat=True)) == ["C1", "C2"]
    send(new("C3^EMR", "CH", obr=request("29=P1&EMR", number="C3^EMR")))
    assert the_order("C3").parent == the_order("P1")
    assert said(send(new("C4^EMR", "CH"))) == "AE 204"


def test_a_repeated_number_may_mean_a_change() -> None:
    """ORD-11 with the profile `repeated_order`."""
    sender(profile={"repeated_order": "change"})
    send(new("A1^EMR"))
    assert said(send(new("A1^EMR", timing="1^once^^^^R"))) == "AA"
    assert Order.objects.get().priority == "routine"


def test_replies_may_be_messages_of_their_own() -> None:
    """ORD-01, ORD-02: OK and UC as ORM to the partner `reply_to`."""
    partner("emr", "")
    sender(profile={"replies": "orm", "reply_to": "emr"})
    assert said(send(new("A1^EMR"))) == "AA"
    started()
    assert said(send(new("A1^EMR", "CA"))) == "AA"
    texts = [bytes(one.raw).decode() for one in OutboundMessage.objects.order_by("pk")]
    controls = [text.split("\rORC|")[1][:2] for text in texts]
    assert controls == ["OK", "UC"]
    assert f"|{the_order().accession_number}^LIGHTBOX|" in texts[0]
    assert "too late" in texts[1] or "in progress" in texts[1]


# Whose order, whose code


def test_two_sites_with_the_same_numbers_do_not_mix() -> None:
    """SCN-23: the same MRN and order number, with and without a namespace, from two senders."""
    make_facility(code="NORTH", name="North", assigning_authority="N")
    for name in ("NORTH", "SOUTH"):
        sender(name, match_facility=name, profile={"authority": name})
    for number in ("7", "8^EMR"):
        for name in ("NORTH", "SOUTH"):
            person_ = f"PID|||100||{name}^PAT||19700101|F"
            assert said(send(new(number, facility=name, person=person_))) == "AA", (number, name)
    assert Patient.objects.count() == 2
    assert Order.objects.count() == 4
    for number in ("7", "8^EMR"):
        assert said(send(message(f"ORC|CA|{number}", facility="SOUTH"))) == "AA"
    assert {(one.source, one.status, one.patient.family) for one in Order.objects.all()} == {
        ("NORTH", "requested", "NORTH"), ("SOUTH", "cancelled", "SOUTH"),
    }  # fmt: skip


def test_the_department_map_says_which_site_an_order_is_for() -> None:
    endpoint = sender()
    north = make_facility(code="NORTH", name="North", accession_prefix="N", assigning_authority="N")
    harbour = make_facility()
    send(new("A1^EMR").replace("|LIGHTBOX|HARBOUR|", "|LIGHTBOX|NORTH|"))
    assert said(send(new("A2^EMR"))) == "AA"
    mapped(endpoint, "department", **{"922229-10": "NORTH"})
    send(new("A3^EMR"))
    stray = new("A4^EMR").replace("922229-10", "RAD-9").replace("|LIGHTBOX|HARBOUR|", "|LIGHTBOX|EAST|")
    send(stray)
    assert the_order("A1").facility == north
    assert the_order("A2").facility == harbour
    assert the_order("A3").facility == north
    assert the_order("A4").facility == harbour
    case = Case.objects.get(kind="wrong_facility")
    assert (case.key, case.status) == ("facility:emr_in|RAD-9", "open")

    def again(number: str) -> str:
        return stray.replace("A4^", f"{number}^").replace("|T0", "|U0", 1)

    sender(profile={"unknown_facility": "refuse"})
    assert said(send(again("A5"))) == "AE 204"
    assert not Order.objects.filter(placer_order_number="A5").exists()
    sender(profile={"replies": "orr"})
    assert said(send(again("A5"))) == "AA UA"


def test_an_unknown_exam_is_a_case_until_it_is_matched() -> None:
    """ORD-01: the order is not lost, the suggestion names what may be meant."""
    sender()
    make_procedure_type("MRHEAD", name="MR head", modality="MR")
    for number in ("A1", "A2"):
        send(new(f"{number}^EMR", code="XR99^head^EPIC", obr=request("24=NMR", code="XR99^head^EPIC")))
    case = Case.objects.get()
    assert (case.kind, case.key, case.count) == ("unknown_exam", "exam:emr_in|XR99", 2)
    assert case.suggestion.startswith("MR head (MRHEAD)")
    assert case.inbound == InboundMessage.objects.earliest("pk")
    kind = make_procedure_type("MRHEAD")
    for number, status in (("A1", "open"), ("A2", "solved")):
        map_procedure(the_order(number).procedures.get(), kind, remember=True, by=person("clara"))
        relay_all()
        case.refresh_from_db()
        assert case.status == status
    send(new("A3^EMR", code="XR99^head^EPIC"))
    assert the_order("A3").procedures.get().procedure_type == kind


def test_the_senders_words_are_read_by_its_code_maps() -> None:
    endpoint = sender()
    mapped(endpoint, "exam", XR99="CTHEAD")
    mapped(endpoint, "priority", NOW="stat")
    mapped(endpoint, "sex", X="O")
    mapped(endpoint, "provider", **{"7101": "DR-1"})
    mapped(endpoint, "patient_class", AMB="O")
    text = new("A1^EMR", code="XR99^x^EPIC", timing="1^once^^^^NOW", person=pid(sex="X"))
    visit = "PV1||AMB|||||||||||||||||V9"
    assert said(send(text.replace("PV1||O", visit))) == "AA"
    order = the_order()
    kind = order.procedures.get().procedure_type
    assert kind is not None
    assert (kind.code, order.priority, order.patient.sex) == ("CTHEAD", "stat", "O")
    assert order.ordering is not None
    assert order.visit is not None
    assert (order.ordering.identifier, order.visit.patient_class) == ("DR-1", "O")
    assert order.procedures.get().code == "XR99"


# The placer's numbers for our orders


def test_the_placers_number_comes_as_a_message_of_its_own() -> None:
    """FIL-02: ORR^O02, ORG^O20, or NA in an ORM."""
    from tests.makers import make_order

    sender()
    for number, (kind, version) in enumerate(
        [("ORR^O02", "2.3.1"), ("ORG^O20^ORG_O20", "2.5.1"), ("ORM^O01", "2.3.1")], 1
    ):
        order = make_order()
        lines = [f"ORC|NA|P{number}^EPIC|{order.accession_number}^LIGHTBOX"]
        if kind != "ORM^O01":
            lines.insert(0, "MSA|AA|X1")
        assert said(send(message(*lines, kind=kind, version=version))) == "AA", kind
        order.refresh_from_db()
        assert (order.placer_order_number, order.placer_authority, order.source) == (
            f"P{number}", "EPIC", "emr_in",
        )  # fmt: skip
    assert said(send(message("MSA|AA|X", "ORC|NA|P9|A99", kind="ORR^O02"))) == "AE 204"
    refused = make_order()
    text = message("MSA|AE|X", f"ORC|UA||{refused.accession_number}", kind="ORR^O02")
    assert take(text).accession_number == refused.accession_number
    case = Case.objects.get(kind="no_placer_number")
    assert case.accession_number == refused.accession_number
