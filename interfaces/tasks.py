"""Celery's doors: each wakes a loop over rows. Arguments are ids; losing any of these calls loses nothing."""

import sys
from collections.abc import Iterable
from datetime import timedelta

from celery import shared_task
from celery.signals import worker_process_shutdown, worker_shutdown
from django.utils import timezone

from interfaces import alarms, engine, retention
from interfaces.hl7 import receiver
from interfaces.hl7.sender import sender
from interfaces.models import Endpoint, Protocol
from interfaces.telling import numbering

#: A message stored longer ago than this and still not applied lost its listener.
STRANDED_AFTER = timedelta(seconds=15)


@shared_task(name="interfaces.tasks.deliver")
def deliver(endpoint_id: int) -> None:
    """Have this worker's sender look at an endpoint's queue; a silent partner holds no worker."""
    if Endpoint.objects.filter(pk=endpoint_id, protocol__in=_ARCHIVES).exists():
        _wake_couriers([endpoint_id])
    else:
        sender.wake(endpoint_id)


_ARCHIVES = (Protocol.DICOM, Protocol.DICOMWEB)


def _wake_couriers(endpoints: Iterable[int]) -> None:
    for endpoint_id in endpoints:
        # Loaded here: a department without an archive needs no DICOM library in its workers.
        from interfaces.dicom.queue import couriers

        couriers.wake(endpoint_id)


@shared_task(name="interfaces.tasks.sweep")
def sweep() -> None:
    """Find what lost wake-ups and killed processes left. The sender looks for due queues by itself once it runs."""
    sender.wake()
    _wake_couriers(engine.endpoints_with_due_messages(*_ARCHIVES, at=timezone.now()))
    receiver.recover(older_than=STRANDED_AFTER)


@shared_task(name="interfaces.tasks.ask_archive")
def ask_archive() -> None:
    """Ask the archives which images of recent exams they have (RAD-11), and what they owe us a word about."""
    if Endpoint.objects.filter(protocol=Protocol.DICOM, active=True, profile__commitment="yes").exists():
        from interfaces.dicom.store_commitment import ask_again

        ask_again(timezone.now())
    if Endpoint.objects.filter(protocol__in=_ARCHIVES, active=True, profile__ask_images="yes").exists():
        from interfaces.dicom.archive import ask_for_images

        ask_for_images(timezone.now())


@shared_task(name="interfaces.tasks.retain")
def retain() -> None:
    """Let go of old bytes and rows; see `interfaces.retention`."""
    retention.apply(retention.limits(timezone.now()))


@worker_shutdown.connect
@worker_process_shutdown.connect
def _finish(**_: object) -> None:
    sender.stop()
    if "interfaces.dicom.queue" in sys.modules:
        sys.modules["interfaces.dicom.queue"].couriers.stop()


@shared_task(name="interfaces.tasks.watch")
def watch() -> None:
    """Ask again for placer numbers; start, count and clear alarms, see `interfaces.alarms.watch`."""
    numbering.ask_again(at=timezone.now())
    alarms.watch()
