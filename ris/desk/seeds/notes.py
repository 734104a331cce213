"""What was noted, said and measured at the invented scanners: events, talk, doses and the levels they stand beside."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random

from ris.accounts.models import Role, User, system_user
from ris.exams.models import Dose, DoseReferenceLevel, Exam, ExamEvent, ExamMessage, MessageReceipt
from ris.exams.models_dose import DoseSource
from ris.exams.states import EventKind, ExamStatus, RepeatReason, Severity, TalkSide
from ris.orders.models import Order
from ris.orders.states import OrderStatus
from ris.patients.models import Visit

#: (modality, body part, quantity, level). Made up in the size of usual ones; a department sets its own.
_LEVELS = (
    ("CT", "Head", "ctdivol_mgy", "60"), ("CT", "Head", "dlp_mgycm", "900"), ("CT", "Chest", "ctdivol_mgy", "10"),
    ("CT", "Chest", "dlp_mgycm", "380"), ("CT", "", "ctdivol_mgy", "15"), ("CT", "", "dlp_mgycm", "750"),
    ("DX", "Chest", "dap_gycm2", "0.15"), ("DX", "", "dap_gycm2", "1.2"), ("MG", "", "reference_point_mgy", "10"),
)  # fmt: skip
#: What a talk is about: question, answer.
_TALKS = (
    ("Creatinine is 132, eGFR 44. Full contrast dose or 70 mL?", "70 mL is fine. Hydrate after."),
    ("Patient cannot raise the arms. Go on with arms down?", "Yes, arms down, raise the dose modulation."),
    ("Metal clip in the scalp, not on the form. Go on?", "Seen on the prior. Go on."),
    ("Thrombus in the right main artery on the scout. Do you want the legs too?", ""),
    ("Second phase needed? Portal venous looks late.", ""),
)
_TALKED = timedelta(hours=8)


def write_notes(rng: Random, now: datetime) -> int:
    """How many rows were written."""
    exams = list(
        Exam.objects.filter(started_at__gte=now - timedelta(days=9))
        .exclude(status=ExamStatus.ENTERED_IN_ERROR)
        .select_related("procedure__procedure_type", "technologist", "order")
        .order_by("pk")
    )
    rows = _levels(now.date()) + _doses(rng, exams) + _events(rng, exams) + _talk(rng, now, exams)
    return rows + _bedside(rng, now)


def _levels(day: date) -> int:
    return len(
        DoseReferenceLevel.objects.bulk_create(
            [
                DoseReferenceLevel(
                    modality=modality, body_part=part, quantity=quantity, value=Decimal(value),
                    source=f"Own practice {day.year - 1}", valid_from=date(day.year, 1, 1),
                )
                for modality, part, quantity, value in _LEVELS
            ]
        )
    )  # fmt: skip


def _doses(rng: Random, exams: list[Exam]) -> int:
    machine = system_user("dicom")
    doses = []
    for exam in exams:
        kind = exam.procedure.procedure_type
        if exam.ended_at is None or kind is None or kind.modality not in {"CT", "DX", "MG"}:
            continue
        told: dict[str, Decimal | int] = {}
        # Most stay well below, a few come above: what a level is.
        size = Decimal(str(round(rng.lognormvariate(-0.5, 0.32), 3)))
        if kind.modality == "CT":
            head = kind.body_part == "Head"
            told = {"ctdivol_mgy": size * (60 if head else 13), "dlp_mgycm": size * (900 if head else 640)}
        elif kind.modality == "DX":
            part = Decimal("0.15") if kind.body_part == "Chest" else Decimal("0.9")
            told = {"dap_gycm2": size * part, "exposures": rng.randrange(1, 4)}
        else:
            told = {"reference_point_mgy": size * 8, "exposures": 4}
        rounded = {
            name: round(value, 3) if isinstance(value, Decimal) else value for name, value in told.items()
        }
        doses.append(
            Dose(
                exam=exam, source=DoseSource.RDSR if rng.random() < 0.7 else DoseSource.MPPS,
                instance_uid=f"2.25.{rng.getrandbits(120)}", recorded_by=machine,
                recorded_at=exam.ended_at, **rounded,
            )
        )  # fmt: skip
    return len(Dose.objects.bulk_create(doses, batch_size=1000))


def _events(rng: Random, exams: list[Exam]) -> int:
    events = []
    for exam in exams:
        if exam.technologist is None or rng.random() > 0.16:
            continue
        at = exam.started_at + timedelta(minutes=rng.randrange(2, 12))
        contrast = bool(exam.procedure.procedure_type and exam.procedure.procedure_type.contrast)
        kind = rng.choices(
            [
                EventKind.REPEATED,
                EventKind.MOVED,
                EventKind.REJECTED,
                EventKind.NOTE,
                EventKind.EXTRAVASATION,
            ],
            [6, 4, 3, 2, 1 if contrast else 0],
        )[0]
        counted = kind in {EventKind.REPEATED, EventKind.REJECTED}
        events.append(
            ExamEvent(
                exam=exam, kind=kind, by=exam.technologist, at=min(at, exam.ended_at or at),
                severity=Severity.MILD if kind == EventKind.EXTRAVASATION else "",
                reason=rng.choice(RepeatReason.values[:5]) if counted else "",
                image_count=rng.randrange(1, 4) if counted else None,
                text={
                    EventKind.NOTE: "Could not hold the breath long.",
                    EventKind.EXTRAVASATION: "About 10 mL, arm raised and cooled.",
                }.get(kind, ""),
            )
        )  # fmt: skip
    return len(ExamEvent.objects.bulk_create(events))


def _talk(rng: Random, now: datetime, exams: list[Exam]) -> int:
    readers = list(User.objects.filter(is_active=True, roles__contains=[Role.RADIOLOGIST]).order_by("pk"))
    recent = [
        exam for exam in exams
        if exam.technologist and exam.started_at >= now - _TALKED and exam.started_at <= now
        and exam.procedure.procedure_type and exam.procedure.procedure_type.modality in {"CT", "MR"}
    ]  # fmt: skip
    running = [exam for exam in recent if exam.status == ExamStatus.IN_PROGRESS]
    ended = [exam for exam in recent if exam.ended_at]
    messages, receipts = [], []
    asked = rng.sample(ended, min(3, len(ended)))
    for (question, answer), exam in zip(_TALKS, [*asked, *running[:2]], strict=False):
        at = exam.started_at + timedelta(minutes=3)
        said = ExamMessage(
            order=exam.order, author=exam.technologist, side=TalkSide.ROOM, text=question, at=min(at, now),
            urgent="Thrombus" in question,
        )  # fmt: skip
        messages.append(said)
        if answer and readers:
            reader = rng.choice(readers)
            answered = min(at + timedelta(minutes=2), now)
            messages.append(
                ExamMessage(order=exam.order, author=reader, side=TalkSide.READING, text=answer, at=answered)
            )
            receipts.append(MessageReceipt(message=said, reader=reader, side=TalkSide.READING, at=answered))
    ExamMessage.objects.bulk_create(messages)
    MessageReceipt.objects.bulk_create(receipts)
    return len(messages)


#: Where the portable goes, in the order of nobody's walk.
_BEDS = ("4 East 12", "2 West 03", "ICU 7", "4 East 02", "3 North 21", "ICU 2", "2 West 17")


def _bedside(rng: Random, now: datetime) -> int:
    """Some patients are examined in their beds."""
    chosen = list(
        Order.objects.filter(
            status__in=[OrderStatus.REQUESTED, OrderStatus.SCHEDULED], visit=None,
            procedures__procedure_type__modality="DX", ordered_at__lte=now,
            appointments__isnull=True,
        )
        .select_related("patient")
        .order_by("-ordered_at", "pk")[: len(_BEDS)]
    )  # fmt: skip
    visits = Visit.objects.bulk_create(
        [
            Visit(
                patient=order.patient, number=f"W{rng.randrange(10**9):09d}", authority="EMR", patient_class="I",
                location=bed, admitted_at=order.ordered_at - timedelta(hours=rng.randrange(5, 90)),
            )
            for order, bed in zip(chosen, _BEDS, strict=False)
        ]
    )  # fmt: skip
    for order, visit in zip(chosen, visits, strict=True):
        order.visit, order.transport = visit, "PORT"
    Order.objects.bulk_update(chosen, ["visit", "transport"])
    return len(visits)
