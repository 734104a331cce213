"""Who gets which answer, and when: original and enhanced mode both ways (HL7 2.5.1 2.9)."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest
from django.db import connection, transaction

from interfaces import engine
from interfaces.actions import configure_endpoint
from interfaces.hl7 import ack, receiver
from interfaces.hl7.inbound import READERS
from interfaces.hl7.mllp import Frame
from interfaces.models import Case, Endpoint, InboundMessage, OutboundMessage
from ris.accounts.models import system_user
from ris.patients.models import Patient
from tests.interfaces.hl7.samples import adt, msh, orm, pid
from tests.interfaces.hl7.test_sending import drain, due_now, make_partner, queue
from tests.makers import make_facility, make_procedure_type
from tests.peers.emr import Ack, Emr


def answers(message: str | bytes, certificate: str = "") -> list[Ack]:
    raw = message if isinstance(message, bytes) else message.encode()
    return [Ack(one) for one in receiver.receive(Frame(raw), "10.0.0.1", certificate)]


@pytest.fixture
def anyone(db: None) -> Endpoint:
    make_facility()
    make_procedure_type()
    return partner_in()


def partner_in(name: str = "anybody", **profile: str) -> Endpoint:
    values = {"protocol": "mllp", "direction": "in", "profile": profile}
    return configure_endpoint(name, values, by=system_user("shell"))


WANTED = {"AL": {True, False}, "NE": set(), "ER": {False}, "SU": {True}}


def test_every_pair_of_conditions_gets_what_it_asks_for(anyone: Endpoint) -> None:
    """MLLP-08: MSH-15 and MSH-16 in all their pairs, with a message that is accepted, one that the application
    refuses (AE) and one whose header is refused (CR)."""
    for number, (accept, application) in enumerate(product(WANTED, WANTED)):
        asked = {"accept": accept, "application": application}
        good = [one.code for one in answers(orm(number=f"P{number}^EMR", **asked))]
        bad = [one.code for one in answers(orm("CA", f"Q{number}^EMR", **asked))]
        refused = [one.code for one in answers(adt("A99", **asked))]
        if accept == application == "NE":
            assert (good, bad, refused) == (["AA"], ["AE"], ["AR"])
            continue
        commit, last = WANTED[accept], WANTED[application]
        assert good == ["CA"] * (True in commit) + ["AA"] * (True in last), asked
        assert bad == ["CA"] * (True in commit) + ["AE"] * (False in last), asked
        # Who has been told that it was not taken needs no second word.
        assert refused == (["CR"] if False in commit else ["AR"] * (False in last)), asked


def test_each_answer_has_a_number_of_its_own(anyone: Endpoint) -> None:
    """MLLP-06."""
    commit, application = answers(orm(accept="AL", application="AL"))
    assert commit.answers == application.answers
    assert commit.field("MSH", 10) != application.field("MSH", 10)


def test_who_wants_no_answer_gets_none_where_the_site_says_so(anyone: Endpoint) -> None:
    partner_in(never_ack="silence")
    assert answers(orm(accept="NE", application="NE")) == []
    assert InboundMessage.objects.get().status == "processed"
    assert len(answers(orm("CA"))) == 1


def test_answers_may_go_to_another_door(anyone: Endpoint) -> None:
    """The application's answer becomes a message of its own, queued with the outcome."""
    configure_endpoint(
        "door", {"protocol": "mllp", "direction": "out", "address": "127.0.0.1:1"}, by=system_user("shell")
    )
    partner_in(ack_to="door")
    message = orm(accept="AL", application="AL")
    assert [one.code for one in answers(message)] == ["CA"]
    assert [one.code for one in answers(message)] == ["CA"]
    assert [one.code for one in answers(orm("CA", "X^EMR", accept="AL", application="ER"))] == ["CA"]
    first, second = (Ack(bytes(one.raw)) for one in OutboundMessage.objects.order_by("pk"))
    assert (first.code, second.code) == ("AA", "AE")
    assert [first.field("MSH", n) for n in (9, 15, 16)] == ["ACK^O01", "AL", "NE"]
    assert OutboundMessage.objects.filter(control_id=first.field("MSH", 10)).exists()
    assert [one.code for one in answers(orm("CA"))] == ["AA"]  # original mode is answered on its line


def test_a_problem_is_named_in_the_form_of_the_senders_version(anyone: Endpoint) -> None:
    """MLLP-07, ERR-02, ERR-03, ERR-05: ERR-1 up to 2.4, ERR-2 to ERR-4 and ERR-8 from 2.5 on."""
    for version, place, code in (
        ("2.3.1", 1, "PID^1^7^102"),
        ("2.4", 1, "PID^1^7^102"),
        ("2.5", 2, "PID^1^7"),
    ):
        refusal = answers(adt(version=version, person=pid(born="20260431")))[0]
        assert refusal.field("ERR", place).startswith(code)
        assert refusal.error == "102"
        assert refusal.field("ERR", 4) == ("E" if version == "2.5" else "")
    deep = ack.Problem("AE", "101", "OBR[2]-4.1.2", "x")
    built = Ack(ack.build(ack.Header(version="2.5.1"), "AE", control_id="1", problem=deep))
    assert built.field("ERR", 2) == "OBR^2^4^1^1^2"


def test_each_fault_is_answered_with_its_code(anyone: Endpoint) -> None:
    """MSA-1, the code of table 0357 and the place, by conformance 2.1."""
    answers(orm())
    no_pid = "\r".join([msh("ADT^A04"), "EVN||20260301", ""])
    for row, message, code, error, place in (
        ("ERR-01", no_pid, "AE", "100", "PID"),
        ("ERR-01", adt() + "half of a field", "AE", "100", ""),
        ("ERR-02", adt(person="PID|||||OKAFOR^ADAEZE"), "AE", "101", "PID-3"),
        ("ERR-02", orm(control="", number="A2^EMR"), "AE", "101", "ORC-1"),
        ("ERR-02", orm(number=""), "AE", "101", "ORC-2"),
        ("ERR-03", adt(person=pid(born="20260431")), "AE", "102", "PID-7"),
        ("ERR-03", orm(number="A2^EMR", timing="1^once^^20260431^^S"), "AE", "102", "ORC-7"),
        ("ERR-04", adt(person=pid(sex="X")), "AE", "103", "PID-8"),
        ("ERR-05 MLLP-04", msh("ZZZ^Z01"), "AR", "200", "MSH-9"),
        ("ERR-05 MLLP-04", adt("Q99"), "AR", "201", "MSH-9"),
        ("ERR-05 MLLP-15", adt(processing="T"), "AR", "202", "MSH-11"),
        ("ERR-05", adt(version="9.9"), "AR", "203", "MSH-12"),
        ("ERR-06", orm("CA", "UNKNOWN^EMR"), "AE", "204", "ORC-2"),
        ("ERR-07", orm(), "AE", "205", "ORC-2"),
        ("MLLP-05", adt(control_id=""), "AR", "101", "MSH-10"),
        ("MLLP-05", "MSH|^", "AR", "100", "MSH"),
        ("MLLP-10", adt(version="2.8.1"), "AA", "", ""),
        ("MLLP-18", adt() + "ZZZ|1|x\rPV2|||||\r", "AA", "", ""),
    ):
        (said,) = answers(message)
        assert (said.code, said.error) == (code, error), row
        assert said.location.startswith(place), row


@pytest.mark.django_db(transaction=True)
def test_a_record_that_somebody_has_locked_delays_the_answer(anybody: Endpoint) -> None:
    """ERR-08."""
    answers(adt())
    locked, free = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Patient.objects.select_for_update().get()
            locked.set()
            free.wait(20)
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold)
        assert locked.wait(20)
        threading.Timer(0.5, free.set).start()
        (said,) = answers(adt("A08", person=pid(name="OKAFOR^ADA")))
        assert (said.code, free.is_set()) == ("AA", True)
        holding.result(20)
    assert Patient.objects.get().given == "ADA"


def test_our_own_fault_is_an_ae_and_the_next_message_works(
    anyone: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ERR-09."""
    with monkeypatch.context() as broken:
        broken.setitem(READERS, "ADT^A04", lambda message, context: 1 / 0)
        (said,) = answers(adt())
    assert (said.code, said.error) == ("AE", "207")
    assert InboundMessage.objects.get().status == "failed"
    assert [one.code for one in answers(adt())] == ["AA"]


# Outbound


def fill(partner: Endpoint, *keys: str) -> list[OutboundMessage]:
    return [queue(partner, key) for key in keys]


@pytest.mark.django_db(transaction=True)
def test_a_commit_is_followed_by_the_applications_word_on_the_line(emr: Emr) -> None:
    """MLLP-08 outbound: CA settles the message, AA or AE after it says what the application made of it."""
    partner = make_partner(emr, profile={"acks": "enhanced"})
    said = iter(["CA+AA", "CA+AE", "CA"])
    emr.answer = lambda entry: next(said)
    fill(partner, "A1", "A2", "A3")
    drain(partner)
    found = OutboundMessage.objects.order_by("pk").values_list("status", "ack_code")
    assert list(found) == [("accepted", "AA"), ("rejected", "AE"), ("accepted", "CA")]


@pytest.mark.django_db(transaction=True)
def test_the_applications_word_may_come_later_as_a_message(anybody: Endpoint, emr: Emr) -> None:
    partner = make_partner(emr, profile={"acks": "enhanced", "application_acks": "later"})
    emr.answer = lambda entry: "CA"
    good, bad = fill(partner, "A1", "A2")
    drain(partner)
    for code, message in (("AA", good), ("AE", bad)):
        header = ack.Header(
            sending_application="LIGHTBOX", receiving_application="EMR", type="ORM", trigger="O01",
            control_id=message.control_id, version="2.3.1", processing_id="P",
        )  # fmt: skip
        word = ack.build(
            header, code, control_id=f"W{code}", problem=ack.INTERNAL_ERROR if code == "AE" else None
        )
        assert answers(word) == []
        assert [one.code for one in answers(ack.as_message(word, f"X{code}"))] == ["CA"]
        message.refresh_from_db()
        assert (message.status, message.ack_code) == ({"AA": "accepted", "AE": "rejected"}[code], code)
    stranger = answers(
        ack.build(ack.Header(type="ORM", version="2.3.1", control_id="NEVER"), "AA", control_id="W3")
    )
    assert [(one.code, one.error, one.location) for one in stranger] == [("AE", "204", "MSA-2")]


@pytest.mark.django_db(transaction=True)
def test_a_word_on_an_earlier_message_is_not_taken_for_the_next_ones(emr: Emr) -> None:
    partner = make_partner(emr, profile={"acks": "errors"})
    said = iter(["CA", "<AE+CA"])
    emr.answer = lambda entry: next(said)
    fill(partner, "A1", "A2")
    drain(partner)
    assert list(OutboundMessage.objects.order_by("pk").values_list("status", flat=True)) == [
        "rejected",
        "accepted",
    ]


# Retries


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("profile", "said", "expected"),
    [
        ({"ae_retries": "1"}, ["AR"], ["rejected"]),
        ({"ae_retries": "1", "ar_is_transient": "yes"}, ["AR", "AA"], ["queued", "accepted"]),
        ({"ae_retries": "2", "back_off": "3"}, ["AE", "CE", "AE"], ["queued", "queued", "rejected"]),
    ],
)
def test_what_is_tried_again_is_the_partners_choice(
    emr: Emr, profile: dict[str, str], said: list[str], expected: list[str]
) -> None:
    """MLLP-16."""
    partner = make_partner(emr, profile=profile)
    left = iter(said)
    emr.answer = lambda entry: next(left)
    message = queue(partner)
    for status in expected:
        drain(partner)
        message.refresh_from_db()
        assert message.status == status
        if "back_off" in profile and status == "queued":
            assert message.answered_at
            assert 2 < (message.next_attempt_at - message.answered_at).total_seconds() < 4
        due_now()


@pytest.mark.django_db(transaction=True)
def test_strict_order_stops_the_whole_queue(emr: Emr) -> None:
    partner = make_partner(emr, profile={"order": "strict"})
    emr.answer = lambda entry: "AE" if "A1" in entry.text else "AA"
    fill(partner, "A1", "A2")
    drain(partner)
    assert list(OutboundMessage.objects.order_by("pk").values_list("status", flat=True)) == [
        "rejected",
        "queued",
    ]


# Sequence numbers


def numbered(number: str, **header: str) -> str:
    message = adt(**header).split("\r")
    fields = message[0].split("|")
    fields += [""] * (13 - len(fields))
    fields[12] = number
    return "\r".join(["|".join(fields), *message[1:]])


def test_sequence_numbers_are_taken_in_order(anyone: Endpoint) -> None:
    """MSH-13 and MSA-4 (HL7 2.5.1 2.10.1): a small gap is waited for, a wide one is a person's."""
    partner_in(sequence="yes", sequence_gap="5")
    bare = "MSH|^~\\&|EMR|HOSP|||20260301||^|{}|P|2.3.1|{}"

    def told(message: str) -> tuple[str, str]:
        (one,) = answers(message)
        return one.code, one.field("MSA", 4)

    assert told(bare.format("S1", "0")) == ("AA", "-1")  # nothing is known yet: any number will do
    third = numbered("3")
    assert told(third) == ("AA", "4")
    assert told(third) == ("AA", "4")  # its stored answer
    assert told(numbered("6")) == ("AE", "4")
    assert not Case.objects.exists()  # the sender will do it
    assert told(numbered("4")) == ("AA", "5")
    assert told(bare.format("S2", "0")) == ("AA", "5")
    assert told(numbered("4")) == ("AA", "5")  # the last one again
    assert told(numbered("900")) == ("AA", "901")
    assert Case.objects.get().kind == "out_of_sequence"
    assert told(bare.format("S3", "-1")) == ("AA", "-1")
    assert told(numbered("1")) == ("AA", "2")
    assert told(numbered("x")) == ("AE", "")
    (late,) = answers(numbered("4", accept="AL", application="NE"))
    assert (late.code, late.field("MSA", 4)) == ("CE", "2")
    assert Endpoint.objects.get().last_sequence_in == 1


@pytest.mark.django_db(transaction=True)
def test_a_message_gets_its_number_when_it_is_first_sent(emr: Emr) -> None:
    partner = make_partner(emr, profile={"sequence": "yes"})
    said = iter(["silent"])
    emr.answer = lambda entry: next(said, "AA")
    gone, _, _ = fill(partner, "A1", "A2", "A3")
    with transaction.atomic():
        engine._change(gone, "queued", status="discarded")
    for _ in range(2):
        drain(partner)
        due_now()
    assert [entry.field("MSH", 13) for entry in emr.entries()] == ["1", "1", "2"]
    assert emr.entries()[0].raw == emr.entries()[1].raw


def test_a_partner_takes_no_value_that_means_nothing(db: None) -> None:
    from ris.core.errors import BadValue

    for key, value in (("back_off", "1;2"), ("sequence_gap", "many"), ("acks", "both"), ("order", "any")):
        with pytest.raises(BadValue):
            partner_in(**{key: value})
