"""Bad DICOM: nothing crashes, hangs or stays behind; each is refused by the standard's means, and the next one works.

More of it: `make fuzz`, and `RIS_FUZZ_QUERIES=10000 pytest tests/fuzz/test_dicom.py` for those that need a database.
"""

import os
import random
import struct
import time

import pytest
from pydicom.dataset import Dataset

from interfaces.dicom import dimse, listener, mpps, pdu, worklist
from interfaces.models import ReceivedDataset
from ris.exams.models import PerformedProcedureStep
from tests.fuzz import dicom
from tests.interfaces.dicom.conftest import ris  # noqa: F401 - a fixture
from tests.interfaces.dicom.scu import WORKLIST, Raw, Ris, found, query
from tests.makers import make_appointment, make_room

pytestmark = pytest.mark.timeout(600)

QUERIES = int(os.environ.get("RIS_FUZZ_QUERIES", "40"))
STATUSES = {
    worklist.SOP_CLASS: {0x0000, 0xFF00, 0xFF01, 0xA700, 0xA900, 0xFE00},
    mpps.SOP_CLASS: {0x0000, 0x0105, 0x0106, 0x0110, 0x0111, 0x0112, 0x0117, 0x0120, 0x0121},
}


def test_streams_and_data_sets_are_read_or_refused() -> None:
    """MWL-18, SCN-22"""
    assert [harm for job in dicom.jobs(800, 800) for harm in dicom.run(job)] == []


def test_what_would_make_a_slow_reader_stand_still_is_refused_soon() -> None:
    """Sequences 10,000 deep, a million elements, a million values."""
    start = struct.pack("<HHI", 0x0040, 0x0100, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    element = struct.pack("<HHI", 0x0009, 0x1001, 0)
    giants = {
        "deep": start * 10_000,
        "many items": struct.pack("<HHI", 0x0040, 0x0100, 8_000_000)
        + struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 1_000_000,
        "many elements": element * 1_000_000,
        "many values": dicom.implicit({0x0020000D: "1\\" * 130_000}),
        "many wildcards": dicom.implicit({0x00100010: "*A" * 100_000}),
        "many dates": dicom.implicit({0x00100030: "-" * 250_000}),
    }
    # At the size caps of the services; the reader reads each four times.
    wrong = {name: dicom.wrong_with_data_set(raw, limit=10) for name, raw in giants.items()}
    assert {name: one for name, one in wrong.items() if one} == {}


@pytest.mark.django_db(transaction=True)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_bad_queries_and_reports_on_the_wire_leave_the_next_one_alone(ris: Ris) -> None:  # noqa: F811
    """SCN-22: each gets a status of its service, nobody's data, and the association goes on."""
    make_room("CT1")
    appointment = make_appointment()
    answered = 0
    for first in range(0, QUERIES, 20):
        with Raw(ris) as peer:
            peer.send(dicom.associate())
            assert peer.answer()[0] == 2
            for seed in range(first, first + 20):
                dice = random.Random(seed)
                for context, field, sop_class, content in (
                    (3, dimse.C_FIND_RQ, worklist.SOP_CLASS, dicom.identifier(dice)),
                    (
                        5,
                        dice.choice((dimse.N_CREATE_RQ, dimse.N_SET_RQ)),
                        mpps.SOP_CLASS,
                        dicom.reported(dice),
                    ),
                ):
                    raw = dicom.encoded(content, dice)
                    started = time.monotonic()
                    asked = dicom.command(field, sop_class, data_set=True, instance=f"1.2.{seed}")
                    peer.send(dicom.values_of(context, 1, asked) + dicom.values_of(context, 0, raw))
                    status = 0xFF00
                    while status in (0xFF00, 0xFF01):
                        status = _status(peer)
                        assert status in STATUSES[sop_class], (seed, f"{status:04X}")
                    assert time.monotonic() - started < 20, seed
                    answered += 1
    assert answered == 2 * QUERIES
    stored = set(PerformedProcedureStep.objects.values_list("sop_instance_uid", flat=True))
    assert stored < set(ReceivedDataset.objects.values_list("sop_instance_uid", flat=True))
    with ris.associate(WORKLIST, listener.VERIFICATION) as assoc:
        answer = found(assoc, query(PatientName=""))
        assert answer.accessions == [appointment.order.accession_number]
        assert found(assoc, query({}, RequestedProcedureCodeSequence=[Dataset()])).status == 0x0000


def _status(peer: Raw) -> int:
    """Of the next response; its data set is read past."""
    command = b""
    while True:
        kind, body = peer.answer()
        assert kind == 4, kind
        for _, flags, data in pdu.data_values(body):
            if flags & 1:
                command += data
            if flags & 2 and command:
                place = command.index(struct.pack("<HHI", 0, 0x0900, 2)) + 8
                status = struct.unpack_from("<H", command, place)[0]
                if not flags & 1 or status not in (0xFF00, 0xFF01):
                    return int(status)
