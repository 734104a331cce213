"""The published statement says what the code does, and a running server does what it says (MWL-35, MPPS-23)."""

import re
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE, build_role

from interfaces.dicom import ae, association, dimse
from interfaces.dicom.conformance import conformance_statement
from tests.interfaces.dicom.scu import TITLE, WORKLIST, Raw, Ris, associate_rq, found
from tests.interfaces.dicom.test_association import command, pdu, pdv
from tests.makers import make_appointment, make_patient

PUBLISHED = settings.BASE_DIR / "docs" / "dicom-conformance.md"
#: None of ours: CT images, query of studies, UPS, print; big endian, deflated, JPEG.
OTHER_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.2.2.1",
    "1.2.840.10008.5.1.4.34.6.1",
    "1.2.840.10008.5.1.1.9",
)
OTHER_SYNTAXES = ("1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50")


@pytest.fixture
def ris(shared_ris: Ris) -> Ris:
    return shared_ris


def test_the_published_conformance_statement_is_that_of_the_code() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == conformance_statement(), (
        "run: manage.py dicom_conformance > docs/dicom-conformance.md"
    )


def rows(heading: str) -> Iterator[list[str]]:
    """The cells of the table under a heading of the published statement, without its head."""
    _, _, after = PUBLISHED.read_text(encoding="utf-8").partition(f"# {heading}")
    table = re.search(r"(?:^\|.*\n)+", after, re.MULTILINE)
    assert table is not None, heading
    for line in table[0].splitlines()[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def test_each_context_is_negotiated_as_published_and_no_other(ris: Ris) -> None:
    syntaxes = [uid for _, uid in rows("4.2.3")]
    accepted = {uid: role for _, uid, role, _, _ in rows("4.2.4")}
    assert len(accepted) >= 4
    for uid in (*accepted, *OTHER_CLASSES):
        for ours in ("SCP", "SCU"):
            # A peer that is the other one.
            roles: list[Any] = [build_role(uid, scu_role=ours == "SCP", scp_role=ours == "SCU")]
            results = {}
            for syntax in (*syntaxes, *OTHER_SYNTAXES):
                single = AE("CT1")
                single.add_requested_context(uid, syntax)
                assoc = single.associate(ris.host, ris.port, ae_title=TITLE, ext_neg=roles)
                (context,) = (*assoc.accepted_contexts, *assoc.rejected_contexts)
                results[syntax] = context.result
                if assoc.is_established:
                    assoc.release()
            expected = 3 if uid not in accepted else 0 if accepted[uid] == ours else 1
            assert {results[one] for one in syntaxes} == {expected}, (uid, ours)
            assert {results[one] for one in OTHER_SYNTAXES} == {3 if uid not in accepted else 4}, (uid, ours)


def test_each_operation_is_there_as_published_and_no_other(ris: Ris) -> None:
    """0211 for what a SOP class has not, 0122 for another class on its context."""
    fields = {
        "C-ECHO": dimse.C_ECHO_RQ, "C-FIND": dimse.C_FIND_RQ, "C-STORE": dimse.C_STORE_RQ, "N-GET": dimse.N_GET_RQ,
        "N-CREATE": dimse.N_CREATE_RQ, "N-SET": dimse.N_SET_RQ, "N-EVENT-REPORT": dimse.N_EVENT_REPORT_RQ,
        "N-ACTION": dimse.N_ACTION_RQ, "C-MOVE": 0x0021, "N-DELETE": 0x0150,
    }  # fmt: skip
    for _, uid, role, operations, _ in rows("4.2.4"):
        published = set(operations.split(", "))
        assert published <= fields.keys()
        if role == "SCU":
            continue
        with Raw(ris) as peer:
            peer.send(associate_rq(contexts=[(1, uid)]))
            assert peer.answer()[0] == 2
            for name in fields.keys() - published:
                assert asked(peer, command(fields[name], data_set=False, sop_class=uid)) == 0x0211, (
                    uid,
                    name,
                )
            other = command(fields[min(published)], data_set=False, sop_class="1.2.3")
            assert asked(peer, other) == 0x0122, uid


def asked(peer: Raw, message: bytes) -> int:
    peer.send(pdu(4, pdv(1, 3, message)))
    kind, body = peer.answer()
    assert kind == 4
    place = body.index(struct.pack("<HHI", 0, 0x0900, 2)) + 8
    return int(struct.unpack_from("<H", body, place)[0])


def test_each_key_comes_back_as_published_and_unknown_ones_are_told(ris: Ris) -> None:
    make_appointment(patient=make_patient("Okafor", "Adaeze", mrn="4417268", birth_date="1968-07-14"))
    published: dict[tuple[int, ...], str] = {}
    path: list[int] = []
    for place, _, vr, _ in rows("8.1"):
        nesting, tag = place.count(">"), int(re.sub(r"[^0-9A-F]", "", place), 16)
        path[nesting:] = [tag]
        published[tuple(path)] = vr
    assert len(published) > 60
    with ris.associate(WORKLIST) as assoc:
        answer = found(assoc, _keys(published))
        (match,) = answer.matches
        assert answer.pending == {0xFF00}
        returned = dict(_attributes(match))
        returned.pop((0x00080005,), None)
        # Items of which nothing is known are empty; what is in the others is all published.
        assert {path for path in published if len(path) == 1} == {path for path in returned if len(path) == 1}
        assert {path: published[path] for path in returned} == returned
        unknown = Dataset()
        unknown.PatientName, unknown.EthnicGroup = "", "X"
        answer = found(assoc, unknown)
        assert answer.pending == {0xFF01}
        assert answer.matches[0].EthnicGroup in ("", None)


def _keys(published: dict[tuple[int, ...], str]) -> Dataset:
    """All keys, universal."""
    identifier = Dataset()
    for path, vr in published.items():
        where = identifier
        for tag in path[:-1]:
            if not where[tag].value:
                where[tag].value = Sequence([Dataset()])
            where = where[tag].value[0]
        where.add_new(path[-1], vr, Sequence() if vr == "SQ" else None if vr in ("US", "DS") else "")
    return identifier


def _attributes(data_set: Dataset, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], str]]:
    for element in data_set:
        here = (*path, int(element.tag))
        yield here, str(element.VR)
        if element.VR == "SQ":
            for item in element.value:
                yield from _attributes(item, here)


def test_the_published_limits_are_those_that_hold(ris: Ris) -> None:
    said = dict(rows("4.2.1"))
    with ris.associate(WORKLIST) as assoc:
        assert str(assoc.acceptor.maximum_length) == said["Maximum length received"]
        assert assoc.acceptor.implementation_version_name == said["Implementation version name"]
        assert assoc.acceptor.implementation_class_uid == said["Implementation class UID"].partition(",")[0]
    assert str(ae.MAX_CONNECTIONS) in said["Associations at once"]
    assert said["Between messages"] == f"{association.IDLE_SECONDS:.0f} s"
