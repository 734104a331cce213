from celery import shared_task

from ris.events.outbox import relay_all


@shared_task(name="ris.events.tasks.relay")
def relay() -> None:
    relay_all()
