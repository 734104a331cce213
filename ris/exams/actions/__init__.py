"""Doing: exams, what modalities report of them, what the archive holds of them, and their dose."""

from ris.exams.actions.administering import NewAdministration, administer, withdraw_administration
from ris.exams.actions.dose import note_dose
from ris.exams.actions.evidence import (
    complete_by_evidence,
    do_by_evidence,
    objects_to_reopening,
    reopen_exam,
    set_completion_rule,
)
from ris.exams.actions.exams import comment_exam, complete_exam, discontinue_exam, start_exam, undo_start
from ris.exams.actions.images import NewImages, SeriesImages, note_images
from ris.exams.actions.reconcile import (
    discard_images,
    discard_performed_step,
    match_images,
    match_performed_step,
    order_images,
    order_performed_step,
    reassign_performed_step,
    restore_images,
    restore_performed_step,
    unmatch_performed_step,
)
from ris.exams.actions.steps import (
    NewPerformedStep,
    PerformedChange,
    ScheduledReference,
    begin_performed_step,
    close_performed_step,
    complete_performed_step,
    discontinue_performed_step,
    update_performed_step,
)

__all__ = [
    "NewAdministration",
    "NewImages",
    "NewPerformedStep",
    "PerformedChange",
    "ScheduledReference",
    "SeriesImages",
    "administer",
    "begin_performed_step",
    "close_performed_step",
    "comment_exam",
    "complete_by_evidence",
    "complete_exam",
    "complete_performed_step",
    "discard_images",
    "discard_performed_step",
    "discontinue_exam",
    "discontinue_performed_step",
    "do_by_evidence",
    "match_images",
    "match_performed_step",
    "note_dose",
    "note_images",
    "objects_to_reopening",
    "order_images",
    "order_performed_step",
    "reassign_performed_step",
    "reopen_exam",
    "restore_images",
    "restore_performed_step",
    "set_completion_rule",
    "start_exam",
    "undo_start",
    "unmatch_performed_step",
    "update_performed_step",
    "withdraw_administration",
]
