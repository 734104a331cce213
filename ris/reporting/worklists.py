"""What is to be read and what has been: the reading list, the next case, a patient's earlier reports."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import (
    Case,
    Count,
    DateTimeField,
    Exists,
    F,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from django.utils import timezone

from ris.accounts.models import User
from ris.core.formats import local, minutes
from ris.exams.images import ImageCheck, image_checks
from ris.exams.models import Exam
from ris.exams.states import ExamStatus
from ris.orders.models import Order
from ris.orders.states import OrderStatus, Priority
from ris.patients.models import Patient
from ris.reporting.models import Discrepancy, Draft, Report, ReportedExam, ReportPart
from ris.reporting.states import ENDED, SIGNED, ReportStatus, Significance

#: Time from the exam's end to the signature.
TARGETS = {Priority.STAT: timedelta(hours=1), Priority.ROUTINE: timedelta(hours=24)}
_URGENT = timedelta(hours=4)

#: ?v= of the reading list and its word.
VIEWS = {
    "mine": "Mine",
    "all": "All",
    "stat": "STAT",
    "drafts": "Drafts",
    "preliminary": "Preliminary",
    "addenda": "Addenda",
}


def target(priority: str) -> timedelta:
    return TARGETS.get(Priority(priority), _URGENT)


@dataclass(frozen=True)
class ToRead:
    """A row of the reading list."""

    exam: Exam
    due_at: datetime
    now: datetime
    priors: int
    #: What was sent beside what the archive holds (IAN-02, MPPS-22).
    images: ImageCheck

    @property
    def images_wanting(self) -> str:
        """412 sent, 388 in the archive; blank when all are there or no archive is asked."""
        return "" if self.images.held is None or self.images.complete else self.images.words

    @property
    def order(self) -> Order:
        return self.exam.order

    @property
    def patient(self) -> Patient:
        return self.exam.order.patient

    @property
    def report(self) -> Report | None:
        reported = getattr(self.exam, "reported", None)
        return reported.report if reported else None

    @property
    def reader(self) -> User | None:
        """Who has it open now."""
        report = self.report
        held = report is not None and report.leased_until is not None and report.leased_until > self.now
        return report.reader if report is not None and held else None

    @property
    def left(self) -> int:
        """Minutes until it is due; negative when it is late."""
        return round((self.due_at - self.now).total_seconds() / 60)

    @property
    def left_words(self) -> str:
        """6 min, 3 h 10, late 2 h (what is late needs no minutes)."""
        if self.left >= 0:
            return minutes(self.left)
        late = -self.left
        unit = 1 if late < 60 else 60 if late < 1440 else 1440
        return f"late {minutes(late // unit * unit)}"

    @property
    def tone(self) -> str:
        return "stop" if self.left <= 10 else "wait" if self.left <= 30 else ""

    @property
    def used(self) -> int:
        """Minutes of the target gone by."""
        return self.allowed - max(self.left, 0)

    @property
    def allowed(self) -> int:
        return round(target(self.order.priority).total_seconds() / 60)

    @property
    def chevron(self) -> str:
        return {Priority.STAT: "up2", Priority.ROUTINE: ""}.get(Priority(self.order.priority), "up1")

    @property
    def area(self) -> tuple[str, str]:
        """Where the patient comes from: (word, class of the tag)."""
        visit = self.order.visit
        kind = visit.patient_class if visit else ""
        if kind == "E":
            return "ED", "er"
        if kind == "I":
            return (visit.location.split("^")[0][:12] if visit and visit.location else "") or "IP", "ip"
        return "OP", ""


def _due() -> Case:
    return Case(
        *(
            When(order__priority=priority, then=F("ended_at") + Value(span))
            for priority, span in TARGETS.items()
        ),
        default=F("ended_at") + Value(_URGENT),
        output_field=DateTimeField(),
    )


def unread() -> QuerySet[Exam]:
    """Completed exams without a signature. Their orders are not reported yet, which keeps the search short."""
    return Exam.objects.filter(
        status=ExamStatus.COMPLETED, order__status__in=[OrderStatus.IN_PROGRESS, OrderStatus.PERFORMED]
    ).filter(Q(reported=None) | ~Q(reported__report__status__in=SIGNED))


def _unfinished_addenda() -> QuerySet[Exam]:
    return Exam.objects.filter(reported__report__status__in=SIGNED, reported__report__draft__isnull=False)


def _mine(user: User, now: datetime) -> Q:
    return Q(reported__report__draft__author=user) | Q(
        reported__report__reader=user, reported__report__leased_until__gt=now
    )


def _of_view(view: str, user: User, now: datetime) -> QuerySet[Exam]:
    exams = unread()
    if view == "addenda":
        return _unfinished_addenda()
    if view == "mine":
        return exams.filter(_mine(user, now))
    if view == "stat":
        return exams.filter(order__priority=Priority.STAT)
    if view == "drafts":
        return exams.filter(reported__report__status=ReportStatus.DRAFT)
    if view == "preliminary":
        return exams.filter(reported__report__status=ReportStatus.PRELIMINARY)
    return exams


def reading_list(
    user: User, view: str = "all", modality: str = "", *, limit: int = 100, now: datetime | None = None
) -> list[ToRead]:
    """The cases of a view, due first."""
    moment = now or timezone.now()
    exams = _of_view(view, user, moment)
    if modality:
        exams = exams.filter(procedure__procedure_type__modality=modality)
    priors = (
        ReportedExam.objects.filter(
            exam__order__patient=OuterRef("order__patient"), report__status__in=SIGNED
        )
        .exclude(exam=OuterRef("pk"))
        .order_by()
        .values("exam__order__patient")
        .annotate(n=Count("pk"))
        .values("n")
    )
    rows = (
        exams.select_related(
            "order__patient", "order__visit", "procedure__procedure_type", "room", "reported__report__reader",
            "reported__report__draft",
        )
        .prefetch_related("order__patient__identifiers")
        .annotate(due_at=_due(), priors=Coalesce(Subquery(priors), 0))
        .order_by("due_at", "pk")[:limit]
    )  # fmt: skip
    cases = list(rows)
    images = image_checks(cases)
    return [ToRead(exam, exam.due_at, moment, exam.priors, images[exam.pk]) for exam in cases]


@dataclass(frozen=True)
class Counts:
    """How many wait in each view and modality, and a fingerprint of all the list shows."""

    views: dict[str, int]
    modalities: dict[str, int]
    version: str


def counts(user: User, now: datetime | None = None) -> Counts:
    moment = now or timezone.now()
    held = Q(reported__report__leased_until__gt=moment)
    found: dict[str, Any] = unread().aggregate(
        all=Count("pk"),
        mine=Count("pk", filter=_mine(user, moment)),
        stat=Count("pk", filter=Q(order__priority=Priority.STAT)),
        drafts=Count("pk", filter=Q(reported__report__status=ReportStatus.DRAFT)),
        preliminary=Count("pk", filter=Q(reported__report__status=ReportStatus.PRELIMINARY)),
        newest=Max("pk"),
        changed=Max("reported__report__status_at"),
        priorities=Sum(F("order__version")),
        # Who holds what, in one number.
        held=Sum(F("pk") * F("reported__report__reader"), filter=held),
    )
    by_modality = {
        modality: number
        for modality, number in unread()
        .values_list("procedure__procedure_type__modality")
        .annotate(number=Count("pk"))
        .order_by("-number")
    }
    views = {view: found[view] for view in VIEWS if view != "addenda"}
    views["addenda"] = _unfinished_addenda().count()
    changed = f"{found['changed']:%H%M%S%f}" if found["changed"] else ""
    # The minutes count down on the page, so each minute is a version of its own.
    version = "-".join(
        str(part or 0)
        for part in (f"{local(moment):%H%M}", found["all"], found["newest"], changed, found["priorities"],
                     found["held"], views["mine"], views["addenda"])
    )  # fmt: skip
    return Counts(views, by_modality, version)


def signed_today(user: User, now: datetime | None = None) -> int:
    midnight = local(now or timezone.now()).replace(hour=0, minute=0, second=0, microsecond=0)
    return ReportPart.objects.filter(signed_by=user, released_at__gte=midnight).count()


def signed_exams(patient: Patient) -> QuerySet[Exam]:
    """The patient's exams with a signed report, newest first."""
    signed = ReportedExam.objects.filter(exam=OuterRef("pk"), report__status__in=SIGNED)
    return (
        Exam.objects.filter(Exists(signed), order__patient=patient)
        .select_related("procedure__procedure_type")
        .order_by("-started_at")
    )


def priors(patient: Patient, *, besides: Iterable[int] = (), limit: int = 12) -> list[Exam]:
    """Earlier exams with their reports' parts, for reading beside the new one."""
    return list(
        signed_exams(patient)
        .exclude(pk__in=list(besides))
        .select_related("procedure__procedure_type", "reported__report")
        .prefetch_related("reported__report__parts")[:limit]
    )


def together_with(patient: Patient) -> list[Exam]:
    """The patient's other exams that nobody has begun to read: a draft may take them along."""
    return list(
        unread()
        .filter(order__patient=patient, reported=None)
        .select_related("order", "procedure__procedure_type")
        .order_by("started_at")[:6]
    )


def taken_back(exams: Iterable[Exam]) -> list[Report]:
    """Reports of these exams that had been released and were cancelled or withdrawn, newest first."""
    found = Report.objects.filter(reported__exam__in=[one.pk for one in exams], status__in=ENDED)
    return list(found.exclude(parts=None).distinct().order_by("-status_at"))


def draft_of(report: Report) -> Draft | None:
    return Draft.objects.select_related("author").filter(report=report).first()


#: ?show= of the discrepancies and its word.
DISCREPANCIES = {"open": "Open", "mine": "Mine", "major": "Major", "all": "All"}


def discrepancies(user: User, show: str = "open", *, limit: int = 200) -> list[Discrepancy]:
    """Signed texts that differ from their preliminary one, newest first. Open: not rated, or not seen by its
    author; mine: what `user` wrote first."""
    found = Discrepancy.objects.select_related("final__signed_by", "preliminary__author", "rated_by")
    if show == "mine":
        found = found.filter(preliminary__author=user)
    elif show == "major":
        found = found.filter(significance=Significance.MAJOR)
    elif show != "all":
        found = found.filter(Q(significance=Significance.UNRATED) | Q(seen_at=None))
    return list(
        found.prefetch_related(
            "final__report__reported__exam__order__patient__identifiers",
            "final__report__reported__exam__procedure__procedure_type",
        ).order_by("-pk")[:limit]
    )
