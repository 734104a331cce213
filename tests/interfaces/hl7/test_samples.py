"""Messages of many senders, found in the wild: each is answered as it deserves, none is lost."""

import re
from pathlib import Path

import pytest

from interfaces.models import InboundMessage
from ris.orders.models import Order
from ris.patients.models import Patient
from tests.interfaces.hl7.samples import DATA, adt, pid
from tests.peers.emr import Ack, Line

NOT_MESSAGES = {".json", ".md", ".csv", ".ini", ".xml"}

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="no sample messages beside the repository")


def files(folder: str) -> list[Path]:
    return sorted(
        path
        for path in (DATA / folder).rglob("*")
        if path.is_file() and path.suffix not in NOT_MESSAGES and not path.name.startswith("LICENSE")
    )


def frames(path: Path) -> list[bytes]:
    """The messages of a file; a batch's, each in a frame of its own."""
    raw = path.read_bytes().strip(b"\x0b\x1c\r\n ")
    starts = [found.start() for found in re.finditer(rb"(?:^|[\r\n])(?:\xef\xbb\xbf)?MSH", raw)]
    if len(starts) < 2:
        return [raw]
    return [raw[a:b].strip() for a, b in zip(starts, [*starts[1:], len(raw)], strict=True)]


def field(raw: bytes, position: int) -> str:
    line = re.split(rb"[\r\n]", raw.removeprefix(b"\xef\xbb\xbf"))[0].decode("latin-1")
    parts = line.split(line[3:4] or "|")
    return parts[position - 1] if position <= len(parts) else ""


ADT = (
    "A01 A02 A03 A04 A05 A06 A07 A08 A09 A10 A11 A12 A13 A14 A15 A16 A18 A23 A24 A28 A29 A31 A34 A35 A36 A37 A38 A39"
    " A40 A41 A42 A43 A44 A45 A46 A47 A49 A50 A51 A60"
)
TAKEN = {"ADT": set(ADT.split()), "ORM": {"O01"}, "OMG": {"O19"},
         "OMI": {"O23"}, "ORR": {"O02"}, "ORG": {"O20"}, "ORI": {"O24"},
         "SIU": {"S12", "S13", "S14", "S15", "S16", "S17", "S26"}}  # fmt: skip
VERSIONS = {"2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8"}


def deserved(raw: bytes) -> set[tuple[str, str]]:
    """(code, error) pairs the message may get, from its header alone; a batch's first message for the batch."""
    if raw.startswith((b"FHS", b"BHS")):
        raw = raw[raw.index(b"MSH") :]
    component = raw.removeprefix(b"\xef\xbb\xbf")[4:5].decode("latin-1") or "^"
    kind = field(raw, 9).split(component)
    if not raw.removeprefix(b"\xef\xbb\xbf").startswith(b"MSH") or len(set(field(raw, 2)[:4])) < 3:
        return {("AR", "100"), ("AR", "101")}
    if len(set(field(raw, 2)[:4])) < len(field(raw, 2)[:4]):
        return {("AR", "100")}
    if not (field(raw, 9) and field(raw, 10) and field(raw, 11) and field(raw, 12)):
        return {("AR", "101")}
    if field(raw, 12).split(component)[0] not in VERSIONS:
        return {("AR", "203")}
    if field(raw, 11).split(component)[0] != "P":
        return {("AR", "202")}
    if kind[0] not in TAKEN:
        return {("AR", "200")}
    if (kind[1:] or ["O01"])[0] not in TAKEN[kind[0]]:
        return {("AR", "201")}
    return {("AA", ""), ("AE", "100"), ("AE", "101"), ("AE", "102"), ("AE", "103"), ("AE", "204"), ("AE", "205"),
            ("AE", "207")}  # fmt: skip


@pytest.mark.parametrize("folder", ["hl7", "hl7-embedded", "hl7-samples", "hl7-malformed"])
def test_every_file_is_answered_as_it_deserves(line: Line, folder: str) -> None:
    sent = 0
    for path in files(folder):
        for raw in frames(path):
            if b"\x1c\r" in raw or b"\x0b" in raw:
                continue
            answer: Ack = line.send(raw)
            sent += 1
            # Enhanced mode: CR says what AR says, and CA goes before what the message itself deserves.
            code = "AR" if answer.code == "CR" else answer.code
            if code == "CA":
                assert {one for one, _ in deserved(raw)} == {"AA", "AE"}, path.name
                if field(raw, 16) != "AL":
                    continue
                answer = line.ack()
                code = answer.code
            assert (code, answer.error) in deserved(raw), path.name
            assert answer.answers == field(raw, 10) or code == "AR", path.name
    assert sent > 5
    assert (
        sum(InboundMessage.objects.values_list("repeats", flat=True)) + InboundMessage.objects.count() == sent
    )
    assert not InboundMessage.objects.filter(status__in=["received", "failed"]).exists()
    assert line.send(adt(person=pid("last"), pv1="PV1||O")).code == "AA"


def by_name(folder: str, name: str) -> bytes:
    (found,) = [path for path in files(folder) if path.name.startswith(name)]
    return found.read_bytes()


def test_a_registration_order_and_cancel_of_the_ihe_tests_are_taken(line: Line) -> None:
    assert line.send(by_name("hl7-samples", "01-")).code == "AA"
    assert line.send(by_name("hl7-samples", "02-")).code == "AA"
    assert line.send(by_name("hl7-samples", "03-")).code == "AA"
    order = Order.objects.get()
    assert (order.placer_order_number, order.placer_authority, order.priority) == (
        "A131Z",
        "MESA_ORDPLC",
        "stat",
    )
    assert order.patient.family == "BLACK"
    assert line.send(by_name("hl7-samples", "22-")).code == "AA"
    assert Patient.objects.get(family="NÚÑEZ").identifiers.count() == 2


def test_a_pdf_cut_by_a_line_end_is_not_taken(line: Line) -> None:
    assert line.send(by_name("hl7-samples", "19-")).code in ("AE", "AR")


@pytest.mark.parametrize("scenario", ["100", "103", "109", "131", "141", "151", "1301"])
def test_the_scenarios_of_the_ihe_order_filler_tests_are_taken(line: Line, scenario: str) -> None:
    rad = DATA / "mesa" / "rendered-hl7" / "rad"
    for kind in ("adt", "order"):
        for path in sorted((rad / kind / scenario).glob("*.hl7")):
            answer = line.send(path.read_bytes())
            assert answer.code == "AA", f"{path.name}: {answer.text}"
    assert Order.objects.count() == len(list((rad / "order" / scenario).glob("*.hl7")))
    if scenario == "141":
        assert Patient.objects.get().ideographic == "宇都宮^太郎"
