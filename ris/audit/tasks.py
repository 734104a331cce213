from celery import shared_task

from ris.audit import sealing


@shared_task(name="ris.audit.tasks.seal")
def seal() -> None:
    sealing.seal()
