"""Who is let in, what is negotiated, and what becomes of peers that break the protocol (PS3.8, PS3.7)."""

import struct
import time

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian
from pynetdicom import build_context, build_role
from pynetdicom.pdu_primitives import AsynchronousOperationsWindowNegotiation, SOPClassExtendedNegotiation
from pynetdicom.sop_class import CTImageStorage, ModalityWorklistInformationFind, Verification

from interfaces.dicom import ae, association
from ris.department.models import Station
from tests.interfaces.dicom.scu import MPPS, TITLE, WORKLIST, Raw, Ris, associate_rq, found, item, query
from tests.makers import make_room


@pytest.fixture
def ris(shared_ris: Ris) -> Ris:
    return shared_ris


RELEASE_RQ = struct.pack(">BBI", 5, 0, 4) + bytes(4)


@pytest.mark.peer("dcmtk")
def test_echoscu_is_answered_in_every_transfer_syntax_it_may_propose(ris: Ris) -> None:
    for options in ([], ["-pts", "3"], ["-ppc", "10"], ["--repeat", "20"], ["-pdu", "4096"]):
        done = ris.echoscu(*options)
        assert done.returncode == 0, done.stderr


@pytest.mark.peer("dcmtk")
def test_an_unknown_called_title_is_refused(ris: Ris) -> None:
    done = ris.echoscu("-aec", "SOMEBODY")
    assert done.returncode != 0
    assert "Called AE Title Not Recognized" in done.stderr
    assert reject_of(ris, associate_rq(called=b"lightbox")) == (1, 1, 7)
    assert ris.echoscu().returncode == 0


def reject_of(ris: Ris, request: bytes) -> tuple[int, ...]:
    with Raw(ris) as peer:
        peer.send(request)
        kind, body = peer.answer()
        assert kind == 3
        return tuple(body[1:])


def test_an_unknown_calling_title_is_refused_where_the_network_is_not_open(
    ris: Ris, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_room("CT1")
    Station.objects.create(room=make_room("CT1"), ae_title="OFF", modality="CT", active=False)
    monkeypatch.setattr("interfaces.dicom.stations._is_loopback", lambda address: False)
    for stranger in (b"STRANGER", b"OFF", b"ct1", b""):
        assert reject_of(ris, associate_rq(calling=stranger)) == (1, 1, 3)
    with ris.associate(calling="CT1") as assoc:
        assert assoc.is_established
    # A station that was made a moment ago may call.
    make_room("CT2")
    with ris.associate(calling="CT2") as assoc:
        assert assoc.is_established


def test_a_wrong_version_or_application_context_is_refused(ris: Ris) -> None:
    assert reject_of(ris, associate_rq(version=2)) == (1, 2, 2)
    assert reject_of(ris, associate_rq(application=b"1.2.3")) == (1, 1, 2)
    assert reject_of(ris, associate_rq(user=item(0x51, struct.pack(">I", 20)))) == (1, 1, 1)


def test_what_we_do_not_do_is_refused_by_context_and_the_rest_works(ris: Ris) -> None:
    with ris.associate(CTImageStorage, Verification, WORKLIST) as assoc:
        assert [context.result for context in assoc.rejected_contexts] == [3]
        assert {context.abstract_syntax for context in assoc.accepted_contexts} == {Verification, WORKLIST}
        assert assoc.send_c_echo().Status == 0x0000


def test_only_little_endian_is_taken(ris: Ris) -> None:
    from pynetdicom import AE

    contexts = [
        build_context(Verification, ExplicitVRBigEndian),
        build_context(WORKLIST, [ExplicitVRBigEndian, ImplicitVRLittleEndian]),
    ]
    assoc = AE("CT1").associate(ris.host, ris.port, contexts=contexts, ae_title=TITLE)
    assert [context.result for context in assoc.rejected_contexts] == [4]
    assert [context.transfer_syntax[0] for context in assoc.accepted_contexts] == [ImplicitVRLittleEndian]
    assoc.release()


def test_roles_are_answered_for_performed_steps(ris: Ris) -> None:
    with ris.associate(MPPS, ext_neg=[build_role(MPPS, scu_role=True, scp_role=True)]) as assoc:
        (context,) = assoc.accepted_contexts
        assert (context.as_scu, context.as_scp) == (True, False)
    with ris.associate(
        MPPS, Verification, ext_neg=[build_role(MPPS, scu_role=False, scp_role=True)]
    ) as assoc:
        assert [context.abstract_syntax for context in assoc.accepted_contexts] == [Verification]


def test_extended_negotiation_declines_fuzzy_names_and_time_zones(ris: Ris) -> None:
    asked = SOPClassExtendedNegotiation()
    asked.sop_class_uid = ModalityWorklistInformationFind
    asked.service_class_application_information = b"\x01\x01\x01\x01"
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = window.maximum_number_operations_performed = 5
    with ris.associate(WORKLIST, ext_neg=[asked, window]) as assoc:
        assert assoc.acceptor.sop_class_extended == {WORKLIST: b"\x01\x01\x00\x00"}
        assert assoc.acceptor.asynchronous_operations == (1, 1)
        assert assoc.acceptor.implementation_class_uid.startswith("2.25.")


# Bytes that no library would send


def pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBI", kind, 0, len(body)) + body


def pdv(context: int, flags: int, data: bytes) -> bytes:
    return struct.pack(">IBB", len(data) + 2, context, flags) + data


def element(tag: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, tag, len(value)) + value


def command(field: int, *, data_set: bool, sop_class: str = WORKLIST, message: int = 1) -> bytes:
    uid = sop_class.encode()
    return b"".join((
        element(0x0002, uid + b"\0" * (len(uid) & 1)),
        element(0x0100, struct.pack("<H", field)),
        element(0x0110, struct.pack("<H", message)),
        element(0x0700, struct.pack("<H", 0)),
        element(0x0800, struct.pack("<H", 1 if data_set else 0x0101)),
    ))  # fmt: skip


def open_association(peer: Raw) -> None:
    peer.send(associate_rq())
    assert peer.answer()[0] == 2


C_FIND = 0x0020
BAD_AFTER_OPENING = {
    "unknown type": (pdu(9, b""), 1),
    "a second request": (associate_rq(), 2),
    "accept": (pdu(2, bytes(68)), 2),
    "over the size limit": (struct.pack(">BBI", 4, 0, 2**31), 6),
    "cut PDV": (pdu(4, b"\0\0"), 6),
    "PDV longer than its frame": (pdu(4, struct.pack(">IBB", 100, 1, 3)), 6),
    "PDV without header": (pdu(4, struct.pack(">IBB", 1, 1, 3)), 6),
    "context not accepted": (pdu(4, pdv(7, 3, b"")), 6),
    "data set before command": (pdu(4, pdv(1, 2, b"abcd")), 2),
    "command that is none": (pdu(4, pdv(1, 3, b"nonsense")), 6),
    "command without field": (pdu(4, pdv(1, 3, element(0x0110, b"\1\0"))), 6),
    "command in place of data": (
        pdu(4, pdv(1, 3, command(C_FIND, data_set=True))) + pdu(4, pdv(1, 3, b"")), 2,
    ),
    "a response to nothing": (pdu(4, pdv(1, 3, command(0x8020, data_set=False))), 2),
    "endless command": (pdu(4, pdv(1, 1, bytes(65000))) * 2, 6),
}  # fmt: skip


def test_a_peer_that_breaks_the_protocol_is_told_why_and_cut_off(ris: Ris) -> None:
    for name, (data, reason) in BAD_AFTER_OPENING.items():
        with Raw(ris) as peer:
            open_association(peer)
            peer.send(data)
            kind, body = peer.answer()
            assert (kind, body[2], body[3]) == (7, 2, reason), name
            assert peer.answer() == (0, b""), name
    with ris.associate(Verification) as assoc:
        assert assoc.send_c_echo().Status == 0x0000


def test_what_is_no_association_request_is_aborted(ris: Ris) -> None:
    whole = associate_rq()
    cut = {
        "data": pdu(4, pdv(1, 3, b"")),
        "release": RELEASE_RQ,
        "http": b"GET / HTTP/1.1\r\n\r\n",
        "tls": b"\x16\x03\x01\x02\x00\x01\x00",
        "short": pdu(1, bytes(20)),
        "no contexts": associate_rq(contexts=()),
        "even id": associate_rq(contexts=[(2, str(WORKLIST))]),
        "same id twice": associate_rq(contexts=[(1, str(WORKLIST)), (1, str(Verification))]),
        "item too long": pdu(1, whole[6:-4]),
        "huge": struct.pack(">BBI", 1, 0, 2**29),
    }
    for name, data in cut.items():
        with Raw(ris) as peer:
            peer.send(data)
            kind, body = peer.answer()
            assert (kind, body[2]) == (7, 2), name
            assert peer.answer() == (0, b""), name
    with ris.associate(Verification) as assoc:
        assert assoc.send_c_echo().Status == 0x0000


def test_a_message_may_come_in_any_pieces(ris: Ris) -> None:
    identifier = struct.pack("<HHI", 0x0010, 0x0020, 6) + b"nobody"
    asked = command(C_FIND, data_set=True)
    bytewise = b"".join(pdu(4, pdv(1, 1, asked[at : at + 1])) for at in range(len(asked)))
    ways = {
        "byte by byte": bytewise + pdu(4, pdv(1, 3, b"")) + pdu(4, pdv(1, 2, identifier)),
        "all in one": pdu(4, pdv(1, 3, asked) + pdv(1, 0, identifier[:5]) + pdv(1, 2, identifier[5:])),
    }
    for name, data in ways.items():
        with Raw(ris) as peer:
            for byte in associate_rq():
                peer.send(bytes((byte,)))
            assert peer.answer()[0] == 2
            for at in range(0, len(data), 7):
                peer.send(data[at : at + 7])
            kind, body = peer.answer()
            assert kind == 4, name
            assert body[-2:] == b"\0\0", name  # status 0000
            peer.send(RELEASE_RQ)
            assert peer.answer()[0] == 6


def test_operations_sent_ahead_are_answered_in_order(ris: Ris) -> None:
    with Raw(ris) as peer:
        peer.send(associate_rq(contexts=[(1, str(Verification))]))
        assert peer.answer()[0] == 2
        echo = [
            command(0x0030, data_set=False, sop_class=Verification, message=number) for number in range(5)
        ]
        peer.send(b"".join(pdu(4, pdv(1, 3, one)) for one in echo))
        answered = []
        for _ in range(5):
            _, body = peer.answer()
            place = body.index(struct.pack("<HHI", 0, 0x0120, 2))
            answered.append(struct.unpack_from("<H", body, place + 8)[0])
        assert answered == list(range(5))


def test_data_sets_of_all_peers_together_have_a_limit(ris: Ris, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ae, "_HELD_CAP", 500_000)
    half = pdu(4, pdv(1, 3, command(C_FIND, data_set=True))) + pdu(4, pdv(1, 0, bytes(60_000))) * 4
    with Raw(ris) as first, Raw(ris) as second, Raw(ris) as third:
        for peer in (first, second):
            open_association(peer)
            peer.send(half)
        time.sleep(0.2)
        open_association(third)
        third.send(half)
        assert third.answer()[0] == 7
    # What they held is free again.
    time.sleep(0.2)
    with ris.associate(WORKLIST) as assoc:
        for _ in range(5):
            assert found(assoc, query(PatientName="A" * 150_000)).status == 0x0000


def test_an_operation_of_another_class_or_unknown_is_refused_by_status(ris: Ris) -> None:
    for asked, status in (
        (command(C_FIND, data_set=False, sop_class="1.2.840.10008.5.1.4.1.2.2.1"), 0x0122),
        (command(0x0021, data_set=False), 0x0211),
    ):
        with Raw(ris) as peer:
            open_association(peer)
            peer.send(pdu(4, pdv(1, 3, asked)))
            kind, body = peer.answer()
            assert kind == 4
            assert struct.pack("<HHIH", 0, 0x0900, 2, status) in body


def test_a_huge_identifier_is_refused_by_status_and_the_next_query_works(ris: Ris) -> None:
    with ris.associate(WORKLIST) as assoc:
        huge = found(assoc, query(PatientName="A" * 3_000_000))
        assert (huge.matches, huge.status) == ([], 0xA700)
        long = found(assoc, query(PatientName="A" * 100_000))
        assert (long.matches, long.status) == ([], 0x0000)
        assert found(assoc, query()).status == 0x0000


def test_an_identifier_that_is_no_data_set_is_refused(ris: Ris) -> None:
    deep = b""
    for _ in range(40):
        deep = (
            struct.pack("<HHI", 0x0040, 0x0100, len(deep) + 8)
            + struct.pack("<HHI", 0xFFFE, 0xE000, len(deep))
            + deep
        )
    bad = {
        "cut": b"\x10\0\x20\0\xff",
        "too long": struct.pack("<HHI", 0x0010, 0x0020, 500) + b"x",
        "no end": struct.pack("<HHI", 0x0040, 0x0100, 0xFFFFFFFF)
        + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF),
        "no item": struct.pack("<HHI", 0x0040, 0x0100, 8) + struct.pack("<HHI", 0x0010, 0x0020, 0),
        "twice": struct.pack("<HHI", 0x0010, 0x0020, 0) * 2,
        "deep": deep,
        "lost delimiter": struct.pack("<HHI", 0xFFFE, 0xE00D, 0),
    }
    with Raw(ris) as peer:
        open_association(peer)
        for name, data in bad.items():
            peer.send(pdu(4, pdv(1, 3, command(C_FIND, data_set=True))) + pdu(4, pdv(1, 2, data)))
            kind, body = peer.answer()
            assert kind == 4, name
            assert struct.pack("<HHIH", 0, 0x0900, 2, 0xA900) in body, name
            assert b"Identifier: " in body, name
        peer.send(RELEASE_RQ)
        assert peer.answer()[0] == 6


# Peers that are silent, slow or many


def echo_in_time(ris: Ris, seconds: float) -> None:
    started = time.monotonic()
    with ris.associate(Verification) as assoc:
        assert assoc.send_c_echo().Status == 0x0000
    assert time.monotonic() - started < seconds


def test_silent_and_half_open_peers_keep_nobody_out(ris: Ris, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ae, "MAX_CONNECTIONS_PER_ADDRESS", 60)
    silent = [Raw(ris) for _ in range(100)]
    halves = [Raw(ris) for _ in range(30)]
    for peer in halves:
        peer.send(associate_rq()[:80])
    idle = [Raw(ris) for _ in range(20)]
    for peer in idle:
        open_association(peer)
    try:
        for _ in range(5):
            echo_in_time(ris, 5)
    finally:
        for peer in (*silent, *halves, *idle):
            peer.socket.close()


def test_a_peer_that_never_asks_for_an_association_is_cut(ris: Ris, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(association, "ASSOCIATE_SECONDS", 0.5)
    with Raw(ris) as silent, Raw(ris) as trickling:
        trickling.send(b"\x01")
        started = time.monotonic()
        assert silent.answer() == (0, b"")
        assert time.monotonic() - started < 3
        assert trickling.answer() == (0, b"")


def test_a_message_that_trickles_is_aborted(ris: Ris, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(association, "MESSAGE_SECONDS", 1.0)
    with Raw(ris) as peer:
        open_association(peer)
        started = time.monotonic()
        peer.socket.settimeout(0.1)
        data = pdu(4, pdv(1, 1, bytes(1))) * 100
        answer = b""
        for at in range(0, len(data), 5):
            try:
                peer.send(data[at : at + 5])
                answer = peer.socket.recv(100)
                break
            except TimeoutError:
                continue
        assert answer[:1] == b"\x07"
        assert time.monotonic() - started < 5


def test_an_association_left_idle_is_aborted(ris: Ris, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(association, "IDLE_SECONDS", 0.5)
    with Raw(ris) as peer:
        open_association(peer)
        assert peer.answer()[0] == 7


def test_fifty_associations_at_once_are_all_served(ris: Ris) -> None:
    peers = [Raw(ris) for _ in range(50)]
    asked = command(C_FIND, data_set=True)
    identifier = struct.pack("<HHI", 0x0010, 0x0020, 6) + b"nobody"
    for peer in peers:
        open_association(peer)
    for peer in peers:
        peer.send(pdu(4, pdv(1, 3, asked)) + pdu(4, pdv(1, 2, identifier)))
    for peer in peers:
        kind, body = peer.answer()
        assert (kind, body[-2:]) == (4, b"\0\0")
        peer.send(RELEASE_RQ)
        assert peer.answer()[0] == 6
        peer.socket.close()


def test_a_peer_that_leaves_in_the_middle_harms_nobody(ris: Ris) -> None:
    asked = pdu(4, pdv(1, 3, command(C_FIND, data_set=True)))
    identifier = pdu(4, pdv(1, 2, struct.pack("<HHI", 0x0010, 0x0020, 0)))
    for ending in (b"", asked, asked + identifier):
        with Raw(ris) as peer:
            open_association(peer)
            peer.send(ending)
    with Raw(ris) as peer:
        open_association(peer)
        peer.send(pdu(7, bytes(4)))
        assert peer.answer() == (0, b"")
    echo_in_time(ris, 5)


def test_an_association_survives_the_loss_of_its_database_connections(ris: Ris) -> None:
    from django.db import connection

    with ris.associate(WORKLIST) as assoc:
        assert found(assoc, query(PatientID="nobody")).status == 0x0000
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert found(assoc, query(PatientID="nobody")).status == 0x0000


def test_explicit_and_implicit_give_the_same_answer(ris: Ris) -> None:
    from tests.makers import make_appointment

    make_appointment()
    identifier = query({}, PatientName="", RequestedProcedureCodeSequence=[Dataset()])
    implicit, explicit = ris.find(identifier), ris.find(identifier, explicit=True)
    assert implicit.matches == explicit.matches != []
