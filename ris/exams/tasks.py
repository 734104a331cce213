"""Celery's door: what only time brings about. Losing a call loses nothing, the next one does it."""

from celery import shared_task

from ris.exams.actions.evidence import sweep


@shared_task(name="ris.exams.tasks.end_by_evidence")
def end_by_evidence() -> None:
    """Begin and end exams where the rules say that evidence is enough."""
    sweep()
