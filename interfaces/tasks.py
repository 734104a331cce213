"""Celery's doors: each wakes a loop over rows. Arguments are ids; losing any of these calls loses nothing."""

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from interfaces import engine
from interfaces.hl7 import receiver, sender

#: A message stored longer ago than this and still not applied lost its listener.
STRANDED_AFTER = timedelta(seconds=15)


@shared_task(name="interfaces.tasks.deliver")
def deliver(endpoint_id: int) -> None:
    """Send an endpoint's queue; see `interfaces.hl7.sender.drain`."""
    sender.drain(endpoint_id)


@shared_task(name="interfaces.tasks.sweep")
def sweep() -> None:
    """Find what lost wake-ups and killed processes left: queues with due messages, stored messages not applied."""
    for endpoint_id in engine.endpoints_with_due_messages(at=timezone.now()):
        deliver.delay(endpoint_id)
    receiver.recover(older_than=STRANDED_AFTER)
