"""Performed steps told on to image and report managers, and what an archive says it keeps (MPPS-08, SR-10)."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.utils import timezone
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import BasicTextSRStorage, StorageCommitmentPushModel
from pynetdicom.transport import ThreadedAssociationServer

from interfaces.actions import configure_endpoint
from interfaces.dicom import queue, scu, store_commitment
from interfaces.models import Endpoint, OutboundMessage
from ris.accounts.models import system_user
from ris.events.outbox import relay_all
from tests.interfaces.dicom.scu import MPPS, Ris
from tests.interfaces.dicom.test_mpps import create, final, in_progress, n_set, reference
from tests.makers import make_appointment, make_exam, make_report
from tests.peers.archive import Archive


@dataclass
class Manager:
    """An Image Manager: keeps what it is told, in order, and answers what `says` has next."""

    port: int = 0
    told: list[tuple[str, str, Dataset]] = field(default_factory=list)
    says: list[int] = field(default_factory=list)

    def _take(self, operation: str, uid: str, ds: Dataset) -> int:
        self.told.append((operation, uid, ds))
        return self.says.pop(0) if self.says else 0x0000

    def _promise(self, event: Any) -> tuple[int, None]:
        """Storage commitment, reported a moment later on the same association."""
        asked = event.action_information
        report = Dataset()
        report.TransactionUID, report.ReferencedSOPSequence = (
            asked.TransactionUID,
            asked.ReferencedSOPSequence,
        )

        def tell() -> None:
            event.assoc.send_n_event_report(report, 1, StorageCommitmentPushModel, scu.COMMITMENT_INSTANCE)

        threading.Timer(0.3, tell).start()
        return 0x0000, None

    @contextmanager
    def running(self) -> Iterator[None]:
        entity = AE("MANAGER")
        entity.add_supported_context(MPPS)
        entity.add_supported_context(BasicTextSRStorage)
        entity.add_supported_context(StorageCommitmentPushModel)
        handlers: list[Any] = [
            (evt.EVT_N_CREATE, lambda e: (self._take("N-CREATE", e.request.AffectedSOPInstanceUID, e.attribute_list), None)),
            (evt.EVT_N_SET, lambda e: (self._take("N-SET", e.request.RequestedSOPInstanceUID, e.modification_list), None)),
            (evt.EVT_C_STORE, lambda e: self._take("C-STORE", e.request.AffectedSOPInstanceUID, e.dataset)),
            (evt.EVT_N_ACTION, self._promise),
        ]  # fmt: skip
        server = entity.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        assert isinstance(server, ThreadedAssociationServer)
        self.port = server.server_address[1]
        try:
            yield
        finally:
            server.shutdown()


def partner(manager: Manager, *facts: str, **values: Any) -> Endpoint:
    return configure_endpoint(
        "IMAGE MANAGER",
        {"protocol": "dicom", "address": f"127.0.0.1:{manager.port}", "ae_title": "MANAGER", "facts": facts,
         "answer_timeout": 10, **values},
        by=system_user("shell"),
    )  # fmt: skip


def wait_until(come: Callable[[], bool]) -> None:
    end = time.monotonic() + 15
    while not come():
        assert time.monotonic() < end, "it did not come within 15 s"
        time.sleep(0.05)


@pytest.mark.parametrize("explicit", [False, True])
def test_performed_steps_are_forwarded_unchanged_and_in_order_although_the_manager_was_down(
    ris: Ris, explicit: bool
) -> None:
    """MPPS-08 TX-08 TX-09: stop the image manager, start it: both arrive."""
    manager = Manager()
    with manager.running():
        pass
    endpoint = partner(manager, "performed_steps")
    appointment = make_appointment()
    said = in_progress(
        reference(appointment), SpecificCharacterSet="ISO_IR 100", PerformedProcedureStepDescription="Schädel"
    )
    with ris.associate(MPPS, explicit=explicit) as modality:
        status, uid = create(modality, said)
        ended = final()
        assert (status, n_set(modality, ended, uid).Status) == (0, 0)
        # What is refused is nobody's business.
        assert n_set(modality, final(), uid).Status == 0x0110
    assert queue.drain(endpoint.pk) == 0
    configure_endpoint(endpoint.name, {}, by=system_user("shell"))
    with manager.running():
        assert queue.drain(endpoint.pk) == 2
    assert [(operation, instance) for operation, instance, _ in manager.told] == [
        ("N-CREATE", uid),
        ("N-SET", uid),
    ]
    assert [ds for _, _, ds in manager.told] == [said, ended]
    sent = OutboundMessage.objects.filter(endpoint=endpoint).order_by("pk")
    assert [(one.type, one.status, one.accession_number) for one in sent] == [
        ("N-CREATE MPPS", "accepted", appointment.order.accession_number),
        ("N-SET MPPS", "accepted", appointment.order.accession_number),
    ]


def test_what_arrived_before_its_answer_was_lost_is_accepted(ris: Ris) -> None:
    """A repeat finds the step there (0111), or final (0110 with A710 is the receiver's to say)."""
    manager = Manager(says=[0x0111])
    with manager.running():
        endpoint = partner(manager, "performed_steps")
        with ris.associate(MPPS) as modality:
            create(modality, in_progress(reference(make_appointment())))
        # As the worker's task does it: in a thread of its own.
        queue.couriers.wake(endpoint.pk)
        wait_until(lambda: OutboundMessage.objects.get().status == "accepted")


@pytest.mark.django_db
def test_a_full_archive_is_asked_again_and_a_refusal_waits_for_a_person() -> None:
    """SR-10: A700 is tried again by itself; C000 holds back its own order only."""
    manager = Manager(says=[0xA700, 0xC000, 0x0000])
    with manager.running():
        endpoint = partner(manager, "results")
        first, second = make_exam(completed=True), make_exam(completed=True)
        make_report(first, signed=True)
        relay_all()
        queue.drain(endpoint.pk)
        one = OutboundMessage.objects.get()
        assert (one.status, one.error_text) == ("queued", "It has no room now")
        OutboundMessage.objects.update(next_attempt_at=one.created_at)
        queue.drain(endpoint.pk)
        one.refresh_from_db()
        assert (one.status, one.ack_code, one.error_text) == (
            "rejected",
            "C000",
            "It cannot understand the object",
        )
        make_report(second, signed=True)
        relay_all()
        assert queue.drain(endpoint.pk) == 1
    assert OutboundMessage.objects.latest("pk").status == "accepted"


@pytest.mark.django_db(transaction=True)
def test_the_word_of_an_archive_may_come_on_the_same_association() -> None:
    """SR-10 (PS3.4 J.3.3)."""
    manager = Manager()
    with manager.running():
        endpoint = partner(manager, "results", profile={"commitment": "yes"})
        make_report(make_exam(completed=True), signed=True)
        relay_all()
        assert queue.drain(endpoint.pk) == 2
    assert OutboundMessage.objects.latest("pk").note.startswith("The archive keeps it")


@pytest.mark.peer("orthanc", "orthanc-dicomweb")
def test_the_archive_gives_its_word_that_it_keeps_the_report(ris: Ris, archive: Archive) -> None:
    """SR-10: N-ACTION after the C-STORE; Orthanc reports on an association of its own."""
    archive.call_back("LIGHTBOX", ris.port)
    endpoint = configure_endpoint(
        "PACS",
        {"protocol": "dicom", "address": archive.address, "ae_title": archive.ae_title, "facts": ["results"],
         "answer_timeout": 10, "profile": {"commitment": "yes"}},
        by=system_user("shell"),
    )  # fmt: skip
    make_report(make_exam(completed=True), signed=True)
    relay_all()
    stored, asked = OutboundMessage.objects.order_by("pk")
    assert (stored.type, asked.type) == ("C-STORE SR", "N-ACTION commitment")
    assert queue.drain(endpoint.pk) == 2
    wait_until(lambda: bool(OutboundMessage.objects.get(pk=asked.pk).note))
    asked.refresh_from_db()
    assert asked.note.startswith("The archive keeps it")
    assert store_commitment.ask_again(timezone.now() + timezone.timedelta(days=2)) == 0
    OutboundMessage.objects.filter(pk=asked.pk).update(note="")
    assert store_commitment.ask_again(timezone.now() + timezone.timedelta(days=2)) == 1
    # What it does not have it does not promise.
    archive.ask("/tools/bulk-delete", {"Resources": archive.ask("/instances")})
    assert queue.drain(endpoint.pk) == 1
    wait_until(lambda: OutboundMessage.objects.get(pk=asked.pk).status == "rejected")
    asked.refresh_from_db()
    assert "does not keep what it was sent" in asked.error_text
