"""The planned cases as rows, in bulk: statuses, times, facts and trail as the verbs would have left them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.db.models import F, OuterRef, Subquery

from billing.models import Charge, Fee
from billing.states import ChargeStatus, Component
from ris.accounts.models import Role, User, system_user
from ris.audit.models import AuditEvent
from ris.core.identifiers import accession_number, next_numbers, step_id
from ris.department.models import Facility, Practitioner
from ris.desk.seeds import texts
from ris.desk.seeds.plan import COMPLETED, SIGNED, Case, Stage
from ris.events.models import Event
from ris.exams.models import Exam, PerformedProcedureStep, StudyImages
from ris.exams.models_images import ImageSource
from ris.exams.states import (
    DISCONTINUATION_REASONS,
    WRONG_ENTRY,
    ExamStatus,
    PerformedStepStatus,
    ProblemKind,
)
from ris.orders.models import Order, RequestedProcedure
from ris.orders.states import OrderStatus
from ris.patients.models import Visit
from ris.reporting import sections as text
from ris.reporting.models import Draft, Report, ReportedExam, ReportPart
from ris.reporting.sections import Section
from ris.reporting.signing import digest
from ris.reporting.states import PartKind, ReportStatus
from scheduling.models import Appointment, ScheduledProcedureStep
from scheduling.states import AppointmentStatus, StepStatus

#: Facts older than this have no row in the audit trail: nobody looked here yet.
TRAIL = timedelta(days=8)
#: Performed steps of the modalities are kept from this far back.
MODALITY_MEMORY = timedelta(days=2)

_ORDER = {
    Stage.REQUESTED: OrderStatus.REQUESTED,
    Stage.HELD: OrderStatus.HELD,
    Stage.UNKNOWN_CODE: OrderStatus.REQUESTED,
    Stage.CANCELLED: OrderStatus.CANCELLED,
    Stage.BOOKED: OrderStatus.SCHEDULED,
    Stage.CONFIRMED: OrderStatus.SCHEDULED,
    Stage.NO_SHOW: OrderStatus.CANCELLED,
    Stage.ARRIVED: OrderStatus.SCHEDULED,
    Stage.READY: OrderStatus.SCHEDULED,
    Stage.STARTED: OrderStatus.IN_PROGRESS,
    Stage.DISCONTINUED: OrderStatus.DISCONTINUED,
    Stage.UNREAD: OrderStatus.PERFORMED,
    Stage.DRAFT: OrderStatus.PERFORMED,
    Stage.PRELIMINARY: OrderStatus.PERFORMED,
    Stage.FINAL: OrderStatus.REPORTED,
    Stage.ADDENDED: OrderStatus.REPORTED,
    Stage.CORRECTED: OrderStatus.REPORTED,
}
_APPOINTMENT = {
    Stage.CANCELLED: (AppointmentStatus.CANCELLED, StepStatus.CANCELLED),
    Stage.BOOKED: (AppointmentStatus.BOOKED, StepStatus.SCHEDULED),
    Stage.CONFIRMED: (AppointmentStatus.CONFIRMED, StepStatus.SCHEDULED),
    Stage.NO_SHOW: (AppointmentStatus.NO_SHOW, StepStatus.CANCELLED),
    Stage.ARRIVED: (AppointmentStatus.ARRIVED, StepStatus.ARRIVED),
    Stage.READY: (AppointmentStatus.READY, StepStatus.READY),
    Stage.STARTED: (AppointmentStatus.FULFILLED, StepStatus.STARTED),
    Stage.DISCONTINUED: (AppointmentStatus.FULFILLED, StepStatus.DISCONTINUED),
}
_DONE = (AppointmentStatus.FULFILLED, StepStatus.COMPLETED)
_REPORT = {
    Stage.DRAFT: ReportStatus.DRAFT,
    Stage.PRELIMINARY: ReportStatus.PRELIMINARY,
    Stage.FINAL: ReportStatus.FINAL,
    Stage.ADDENDED: ReportStatus.ADDENDED,
    Stage.CORRECTED: ReportStatus.CORRECTED,
}

_Row = TypeVar("_Row", bound=models.Model)


@dataclass
class Staff:
    """Who acts in the invented department."""

    desk: list[User]
    technologists: list[User]
    radiologists: list[User]
    residents: list[User]
    referrers: list[Practitioner]
    emergency: list[Practitioner]
    emr: User
    billing: User

    @classmethod
    def of(cls, facility: Facility) -> "Staff":
        people = defaultdict(list)
        for user in User.objects.filter(is_active=True).order_by("pk"):
            for role in user.roles:
                people[role].append(user)
        doctors = list(
            Practitioner.objects.exclude(user__roles__overlap=[Role.RADIOLOGIST, Role.RESIDENT]).order_by(
                "pk"
            )
        )
        return cls(
            people[Role.FRONTDESK],
            people[Role.TECHNOLOGIST],
            people[Role.RADIOLOGIST],
            people[Role.RESIDENT],
            doctors,
            [one for one in doctors if one.phone == EMERGENCY_PHONE],
            system_user("EMR"),
            system_user("billing"),
        )


EMERGENCY_PHONE = "555 0911"


@dataclass
class _Fact:
    at: datetime
    kind: str
    by: User
    order: Order
    facts: dict[str, Any]


class Writer:
    def __init__(self, rng: Random, now: datetime, facility: Facility) -> None:
        self.rng = rng
        self.now = now.astimezone(UTC)
        self.facility = facility
        self.staff = Staff.of(facility)
        self.fees = {fee.code: fee for fee in Fee.objects.all()}
        self.facts: list[_Fact] = []

    def write(self, cases: Sequence[Case]) -> dict[str, int]:
        """Everything the cases are made of; how many rows of each kind."""
        self.cases = cases
        orders = self._orders()
        self._procedures()
        self._appointments()
        exams = self._exams()
        reports = self._reports()
        charges = self._charges()
        self._performed_steps()
        self._tell()
        return {
            "orders": orders,
            "exams": exams,
            "reports": reports,
            "charges": charges,
            "facts": len(self.facts),
        }

    def _fact(self, at: datetime | None, kind: str, by: User, order: Order, **facts: Any) -> None:
        assert at is not None
        self.facts.append(_Fact(_utc(at), kind, by, order, {"order": order.pk, **facts}))

    def _uid(self) -> str:
        number = UUID(int=self.rng.getrandbits(128), version=4).int
        root = settings.RIS_UID_ROOT
        return f"{root}.{number}" if root == "2.25" else f"{root}.{number % 10 ** min(38, 63 - len(root))}"

    # Asked

    def _orders(self) -> int:
        rng, staff = self.rng, self.staff
        visits = {id(case): self._visit(case) for case in self.cases if case.patient_class}
        _save(Visit, visits.values())
        self.orders: list[Order] = []
        for case, number in zip(self.cases, next_numbers("core_accession", len(self.cases)), strict=True):
            emergency = case.patient_class == "E"
            from_emr = emergency or case.stage == Stage.UNKNOWN_CODE or rng.random() < 0.55
            subject = texts.BY_CODE[case.exam.code]
            order = Order(
                facility=self.facility,
                patient=case.patient,
                visit=visits.get(id(case)),
                accession_number=accession_number(
                    self.facility.accession_prefix, case.ordered_at.year, number
                ),
                placer_order_number=f"EM{number:08d}" if from_emr else "",
                placer_authority="EMR" if from_emr else "",
                source="EMR" if from_emr else "",
                priority=case.priority,
                reason=rng.choice(subject.reasons),
                clinical_info=rng.choice(texts.CLINICAL_INFO),
                ordering=rng.choice(staff.emergency if emergency else staff.referrers),
                ordered_at=_utc(case.ordered_at),
                transport=self._transport(case),
                entered_by=staff.emr if from_emr else rng.choice(staff.desk),
            )
            self._stamp(order, case)
            self.orders.append(order)
        _save(Order, self.orders)
        for case, order in self._pairs():
            known = case.stage != Stage.UNKNOWN_CODE
            self._fact(order.ordered_at, "order.placed", order.entered_by, order, known_code=known)
            if case.stage == Stage.HELD:
                self._fact(order.status_at, "order.held", rng.choice(staff.desk), order)
            if order.cancelled_at and not case.planned:
                self._fact(order.cancelled_at, "order.cancelled", rng.choice(staff.desk), order)
        return len(self.orders)

    def _pairs(self) -> Iterable[tuple[Case, Order]]:
        return zip(self.cases, self.orders, strict=True)

    def _visit(self, case: Case) -> Visit:
        ward = case.patient_class == "I"
        return Visit(
            patient=case.patient,
            number=f"V{self.rng.randrange(10**9):09d}",
            authority="EMR",
            patient_class=case.patient_class,
            location=f"{self.rng.choice(('4 East', '2 West', '3 North'))} {self.rng.randrange(1, 30):02d}"
            if ward
            else f"ED {self.rng.randrange(1, 19)}",
            admitted_at=_utc(case.ordered_at) - timedelta(hours=self.rng.randrange(2, 90) if ward else 1),
        )

    def _transport(self, case: Case) -> str:
        return self.rng.choice(("WHLC", "CART", "CART")) if case.patient_class else ""

    def _stamp(self, order: Order, case: Case) -> None:
        """The status, and when it and those before it were reached."""
        order.status = _ORDER[case.stage]
        order.status_at = order.ordered_at
        reached = [
            ("scheduled_at", case.booked_at if case.planned else None),
            ("in_progress_at", case.started_at),
            ("performed_at", case.ended_at if case.stage in COMPLETED else None),
            ("reported_at", case.signed_at if case.stage in SIGNED else None),
        ]
        for name, at in reached:
            if at:
                setattr(order, name, _utc(at))
                order.status_at = _utc(at)
        if case.stage == Stage.HELD:
            order.hold_reason = self.rng.choice(texts.HOLD_REASONS)
            order.status_at = order.ordered_at + timedelta(minutes=10)
        if case.stage in {Stage.CANCELLED, Stage.NO_SHOW}:
            late = _utc(case.start) + timedelta(minutes=30) if case.start else self.now
            before = min(late, self.now)
            order.cancelled_at = order.status_at + (before - order.status_at) * self.rng.uniform(0.6, 1.0)
            order.status_at = order.cancelled_at
            order.cancel_reason = (
                "Did not come" if case.stage == Stage.NO_SHOW else self.rng.choice(texts.CANCEL_REASONS)
            )
        if case.stage == Stage.DISCONTINUED:
            assert case.ended_at is not None
            order.status_at = _utc(case.ended_at)

    def _procedures(self) -> None:
        self.procedures: list[RequestedProcedure] = []
        for case, order in self._pairs():
            code, name, scheme = case.exam.code, case.exam.name, case.exam.scheme
            if case.stage == Stage.UNKNOWN_CODE:
                code, name, scheme = texts.UNKNOWN_CODES[case.exam.code]
            self.procedures.append(
                RequestedProcedure(
                    order=order,
                    procedure_type=None if case.stage == Stage.UNKNOWN_CODE else case.exam,
                    code=code,
                    code_text=name,
                    code_scheme=scheme,
                    side="" if case.stage == Stage.UNKNOWN_CODE else case.side,
                    study_instance_uid=self._uid(),
                    requested_procedure_id=f"{order.accession_number}-1",
                )
            )
        _save(RequestedProcedure, self.procedures)

    # Planned

    def _appointments(self) -> None:
        rng, desk = self.rng, self.staff.desk
        planned = [
            (case, order, procedure)
            for (case, order), procedure in zip(self._pairs(), self.procedures, strict=True)
            if case.planned and case.start
        ]
        appointments = []
        for case, order, _ in planned:
            assert case.start is not None
            status, _ = _APPOINTMENT.get(case.stage, _DONE)
            appointments.append(
                Appointment(
                    order=order,
                    patient=case.patient,
                    room=case.room,
                    status=status,
                    booked_by=rng.choice(desk),
                    during=DateTimeTZRange(case.start, case.start + case.length),
                    status_at=self._appointment_at(case, order),
                    arrived_at=_utc(case.arrived_at) if case.arrived_at else None,
                    ready_at=self._ready_at(case),
                    fulfilled_at=_utc(case.started_at) if case.started_at else None,
                    cancel_reason=order.cancel_reason if order.cancelled_at else "",
                )
            )
        _save(Appointment, appointments)
        # The columns that Django stamps with the time of the INSERT.
        asked = Order.objects.filter(pk=OuterRef("order")).values("scheduled_at")
        Appointment.objects.filter(pk__in=[one.pk for one in appointments]).update(booked_at=Subquery(asked))
        steps = []
        numbers = next_numbers("core_step", len(planned))
        for (case, order, procedure), appointment, number in zip(planned, appointments, numbers, strict=True):
            assert case.room is not None
            steps.append(
                ScheduledProcedureStep(
                    appointment=appointment,
                    procedure=procedure,
                    step_id=step_id(number),
                    modality=case.exam.modality,
                    status=_APPOINTMENT.get(case.stage, _DONE)[1],
                    status_at=order.status_at,
                    station_ae_titles=[case.room.code],
                    starts_at=appointment.starts_at,
                    description=procedure.label[:64],
                    protocol_code=case.exam.code,
                    protocol_scheme=case.exam.scheme,
                )
            )
            self._planning_facts(case, order, appointment)
        _save(ScheduledProcedureStep, steps)
        self.steps = {step.procedure_id: step for step in steps}

    def _appointment_at(self, case: Case, order: Order) -> datetime:
        known = (case.started_at, self._ready_at(case), case.arrived_at, order.cancelled_at, case.booked_at)
        return _utc(next(at for at in known if at))

    def _ready_at(self, case: Case) -> datetime | None:
        if case.arrived_at is None or case.stage == Stage.ARRIVED:
            return None
        upto = case.started_at or self.now
        return _utc(case.arrived_at + (upto - case.arrived_at) * 0.7)

    def _planning_facts(self, case: Case, order: Order, appointment: Appointment) -> None:
        desk, told = appointment.booked_by, {"appointment": appointment.pk}
        self._fact(order.scheduled_at, "appointment.booked", desk, order, **told)
        if case.stage == Stage.CONFIRMED:
            at = appointment.status_at + (self.now - appointment.status_at) * self.rng.uniform(0.1, 0.9)
            self._fact(at, "appointment.confirmed", desk, order, **told)
        if appointment.arrived_at:
            self._fact(
                appointment.arrived_at, "patient.arrived", self.rng.choice(self.staff.desk), order, **told
            )
        if appointment.ready_at:
            by = self.rng.choice(self.staff.technologists)
            self._fact(appointment.ready_at, "patient.ready", by, order, **told)
        if case.stage == Stage.NO_SHOW:
            self._fact(order.cancelled_at, "patient.no_show", desk, order, **told)
        if order.cancelled_at:
            self._fact(order.cancelled_at, "order.cancelled", desk, order)

    # Done

    def _exams(self) -> int:
        self.exams: list[Exam] = []
        self.done: list[tuple[Case, Exam]] = []
        for (case, order), procedure in zip(self._pairs(), self.procedures, strict=True):
            if case.started_at is None:
                continue
            exam = Exam(
                order=order,
                procedure=procedure,
                room=case.room,
                station_ae_title=case.room.code if case.room else "",
                technologist=self.rng.choice(self.staff.technologists),
                started_at=_utc(case.started_at),
                status=ExamStatus.IN_PROGRESS,
                status_at=_utc(case.started_at),
            )
            if case.ended_at:
                exam.ended_at = exam.status_at = _utc(case.ended_at)
                exam.status = ExamStatus.COMPLETED
                exam.comment = self.rng.choice(texts.COMMENTS)
                exam.series_count = self.rng.randrange(1, 9)
                exam.image_count = exam.series_count * self.rng.randrange(2, 120)
            if case.stage == Stage.DISCONTINUED:
                exam.status = ExamStatus.DISCONTINUED
                exam.discontinuation_code = self.rng.choice(("110501", "110505", "110515", "110503"))
                exam.discontinuation_reason = DISCONTINUATION_REASONS[exam.discontinuation_code]
                exam.series_count = exam.image_count = None
                order.cancel_reason = exam.discontinuation_reason
            self.exams.append(exam)
            self.done.append((case, exam))
        _save(Exam, self.exams)
        stopped = [exam.order for exam in self.exams if exam.status == ExamStatus.DISCONTINUED]
        Order.objects.bulk_update(stopped, ["cancel_reason"])
        for case, exam in self.done:
            told = {"exam": exam.pk, "procedure": exam.procedure_id}
            by = exam.technologist
            assert by is not None
            self._fact(exam.started_at, "exam.started", by, exam.order, **told)
            if exam.ended_at:
                self._fact(exam.ended_at, f"exam.{exam.status}", by, exam.order, **told)
            if case.stage == Stage.DISCONTINUED:
                self._fact(exam.ended_at, "order.discontinued", by, exam.order)
        return len(self.exams)

    def _performed_steps(self) -> None:
        """What the modalities said of the last two days, some of it about orders nobody knows."""
        recent = [
            (case, exam)
            for case, exam in self.done
            if case.planned and exam.started_at > self.now - MODALITY_MEMORY
        ]
        made = [self._performed(case, exam) for case, exam in recent]
        _save(PerformedProcedureStep, made)
        through = PerformedProcedureStep.exams.through
        _save(
            through,
            [
                through(performedprocedurestep_id=step.pk, exam_id=exam.pk)
                for step, (_, exam) in zip(made, recent, strict=True)
            ],
        )
        problems = (
            (ProblemKind.NO_ORDER, "It names no order that is known here."),
            (ProblemKind.OTHER_PATIENT, "Its patient is not the patient of the order it names."),
            (
                ProblemKind.WRONG_ENTRY,
                "The wrong entry of the worklist was picked: its images are not that patient's.",
            ),
        )
        completed = [pair for pair in recent if pair[1].status == ExamStatus.COMPLETED]
        strays = []
        for (case, exam), (kind, problem) in zip(completed[-len(problems) :], problems, strict=False):
            stray = self._performed(case, exam)
            stray.problem_kind, stray.problem = kind, problem
            stray.accession_number = "" if kind == ProblemKind.NO_ORDER else exam.order.accession_number
            stray.study_instance_uid = self._uid()
            if kind == ProblemKind.WRONG_ENTRY:
                stray.status, stray.discontinuation_code = PerformedStepStatus.DISCONTINUED, WRONG_ENTRY
            strays.append(stray)
        _save(PerformedProcedureStep, strays)
        seen = _utc(self.now - timedelta(hours=3))
        unknown = StudyImages(
            study_instance_uid=self._uid(), source=ImageSource.IAN, series_count=2, instance_count=34, modality="DX",
            retrieve_ae_title="ARCHIVE", patient_name="UNKNOWN^TRAUMA TWO", patient_id="ED-0417", first_seen_at=seen,
            seen_at=seen, problem="The archive holds it, and no order is known for it.",
        )  # fmt: skip
        _save(StudyImages, [unknown])

    def _performed(self, case: Case, exam: Exam) -> PerformedProcedureStep:
        patient, order = case.patient, exam.order
        known = self.steps[exam.procedure_id]
        name = f"{patient.family}^{patient.given}"
        return PerformedProcedureStep(
            sop_instance_uid=self._uid(),
            performed_step_id=known.step_id,
            station_ae_title=exam.station_ae_title,
            modality=case.exam.modality,
            study_instance_uid=exam.procedure.study_instance_uid,
            accession_number=order.accession_number,
            patient_id=patient.mrn,
            patient_name=name,
            started_at=exam.started_at,
            ended_at=exam.ended_at,
            status=PerformedStepStatus(exam.status),
            status_at=exam.status_at,
            discontinuation_code=exam.discontinuation_code,
            attributes=_attributes(case, exam, known),
        )

    # Read

    def _reports(self) -> int:
        read = [(case, exam) for case, exam in self.done if case.stage in _REPORT]
        reports = []
        for case, _ in read:
            report = Report(status=_REPORT[case.stage])
            report.preliminary_at = _utc(case.preliminary_at) if case.preliminary_at else None
            report.final_at = _utc(case.signed_at) if case.signed_at else None
            known = (case.amended_at, case.signed_at, case.preliminary_at, self.now - timedelta(minutes=3))
            report.status_at = _utc(next(at for at in known if at))
            reports.append(report)
        self._lease(
            [report for report, (case, _) in zip(reports, read, strict=True) if case.stage == Stage.DRAFT]
        )
        _save(Report, reports)
        _save(
            ReportedExam,
            [
                ReportedExam(report=report, exam=exam, current=exam)
                for report, (_, exam) in zip(reports, read, strict=True)
            ],
        )
        Report.objects.filter(pk__in=[one.pk for one in reports], final_at__isnull=False).update(
            created_at=F("final_at") - timedelta(minutes=9)
        )
        parts: list[ReportPart] = []
        drafts: list[Draft] = []
        for report, (case, exam) in zip(reports, read, strict=True):
            self._texts(report, case, exam, parts, drafts)
        exam_of = {report.pk: exam for report, (_, exam) in zip(reports, read, strict=True)}
        for part in parts:
            part.patient_id = exam_of[part.report_id].order.patient_id
            part.digest = digest(part, [exam_of[part.report_id]])
        _save(ReportPart, parts)
        _save(Draft, drafts)
        kinds = {"final": "report.signed", "addendum": "report.addended", "correction": "report.corrected"}
        for part in parts:
            exam = exam_of[part.report_id]
            told = {"exam": exam.pk, "report": part.report_id, "part": part.pk}
            kind = kinds.get(part.kind, "report.preliminary")
            self._fact(part.released_at, kind, part.signed_by or part.author, exam.order, **told)
        return len(reports)

    def _lease(self, drafts: list[Report]) -> None:
        """Somebody is writing one of them at this moment; the others are parked."""
        if drafts:
            drafts[-1].reader = self.staff.residents[-1]
            drafts[-1].leased_until = self.now + timedelta(minutes=15)

    def _texts(
        self, report: Report, case: Case, exam: Exam, parts: list[ReportPart], drafts: list[Draft]
    ) -> None:
        rng, staff = self.rng, self.staff
        signer = rng.choice(staff.radiologists)
        author = rng.choice(staff.residents) if case.preliminary_at else signer
        wording = self._wording(case, exam)

        def release(kind: str, sections: list[Section], at: datetime, signed_by: User | None) -> None:
            number = sum(1 for part in parts[-3:] if part.report is report) + 1
            parts.append(
                ReportPart(
                    report=report,
                    number=number,
                    kind=kind,
                    sections=sections,
                    author=author,
                    signed_by=signed_by,
                    signed_name=_printed(signed_by),
                    released_at=_utc(at),
                )
            )

        if case.stage == Stage.DRAFT:
            half = [one if one["code"] != text.IMPRESSION[0] else {**one, "text": ""} for one in wording]
            drafts.append(Draft(report=report, author=report.reader or signer, sections=half))
        if case.preliminary_at:
            release(PartKind.PRELIMINARY, wording, case.preliminary_at, None)
            if case.stage == Stage.PRELIMINARY:
                drafts.append(Draft(report=report, author=author, sections=wording))
        if case.signed_at:
            release(PartKind.FINAL, wording, case.signed_at, signer)
        if case.amended_at and case.stage == Stage.ADDENDED:
            addendum = text.section(text.ADDENDUM, rng.choice(texts.ADDENDA))
            release(PartKind.ADDENDUM, [addendum], case.amended_at, signer)
        if case.amended_at and case.stage == Stage.CORRECTED:
            said = text.text_of(wording, text.IMPRESSION)
            again = [
                text.section(
                    text.IMPRESSION, f"{said}\nThe side in the first text was wrong; it is corrected here."
                )
                if one["code"] == text.IMPRESSION[0]
                else one
                for one in wording
            ]
            release(PartKind.CORRECTION, again, case.amended_at, signer)

    def _wording(self, case: Case, exam: Exam) -> list[Section]:
        rng, subject = self.rng, texts.BY_CODE[case.exam.code]
        weights = [6, *[2] * (len(subject.readings) - 1)]
        reading = rng.choices(subject.readings, weights)[0]
        side, other = ("right", "left") if case.side == "R" else ("left", "right")
        sizes = {"mm": rng.randrange(7, 23), "mm2": rng.randrange(3, 7), "cm": f"{rng.uniform(2.4, 6.8):.1f}"}

        def fill(words: str) -> str:
            return words.format(side=side, other=other, **sizes)

        earlier = "None available."
        if case.prior and case.prior.started_at:
            earlier = f"{case.prior.exam.name} of {case.prior.started_at:%d-%b-%Y}."
        asked = "\n".join(part for part in (exam.order.reason, exam.order.clinical_info) if part)
        return [
            text.section(text.CLINICAL, asked),
            text.section(text.TECHNIQUE, subject.technique),
            text.section(text.COMPARISON, earlier),
            text.section(text.FINDINGS, fill(reading.findings)),
            text.section(text.IMPRESSION, fill(reading.impression)),
        ]

    # Owed

    def _charges(self) -> int:
        charges = []
        for case, exam in self.done:
            if case.stage in COMPLETED:
                charges.append(
                    self._charge(exam, Component.TECHNICAL, case.exam.technical_code, case.ended_at)
                )
            if case.signed_at:
                charges.append(
                    self._charge(exam, Component.PROFESSIONAL, case.exam.professional_code, case.signed_at)
                )
        _save(Charge, charges)
        for charge in charges:
            told = {"charge": charge.pk, "component": str(charge.component)}
            self._fact(charge.captured_at, "charge.captured", self.staff.billing, charge.exam.order, **told)
        return len(charges)

    def _charge(self, exam: Exam, component: Component, code: str, at: datetime | None) -> Charge:
        assert at is not None
        at = _utc(at)
        fee = self.fees.get(code)
        fresh = self.now - at < timedelta(days=2)
        statuses = (ChargeStatus.CAPTURED, ChargeStatus.SENT, ChargeStatus.HELD, ChargeStatus.VOIDED)
        status = self.rng.choices(statuses, (93, 0, 5, 2) if fresh else (2, 94, 2, 1))[0]
        reason = ""
        if fee is None:
            status, reason = ChargeStatus.HELD, f"no fee for code {code}"
        elif status == ChargeStatus.HELD:
            reason = self.rng.choice(HELD)
        elif status == ChargeStatus.VOIDED:
            reason = self.rng.choice(VOIDED)
        return Charge(
            procedure=exam.procedure,
            exam=exam,
            component=component,
            code=code,
            amount=fee.amount if fee else 0,
            currency=fee.currency if fee else "USD",
            captured_at=at,
            status=status,
            status_at=at,
            reason=reason,
        )

    # What happened

    def _tell(self) -> None:
        """Facts in the order of their time; those of the last days in the trail as well."""
        self.facts.sort(key=lambda fact: fact.at)
        events = [
            Event(
                kind=fact.kind,
                subject=fact.order.accession_number,
                at=fact.at,
                by=fact.by,
                facts={**fact.facts, "patient": fact.order.patient_id},
            )
            for fact in self.facts
        ]
        _save(Event, events)
        _save(
            AuditEvent,
            [
                AuditEvent(
                    at=fact.at,
                    user=fact.by.pk,
                    username=fact.by.username,
                    action=fact.kind,
                    patient=fact.order.patient_id,
                    subject=fact.order.accession_number,
                    source="EMR" if fact.by == self.staff.emr else "",
                    details={"event": event.pk},
                )
                for fact, event in zip(self.facts, events, strict=True)
                if fact.at > self.now - TRAIL
            ],
        )


HELD = (
    "no authorization number",
    "referrer has no identifier",
    "side missing on the order",
    "visit number unknown to the payer",
)
VOIDED = ("Exam charged twice", "Wrong patient class", "Written off by the manager")


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC)


def _printed(user: User | None) -> str:
    if user is None:
        return ""
    known: Practitioner | None = getattr(user, "practitioner", None)
    return known.name.display if known else str(user)


def _attributes(case: Case, exam: Exam, step: ScheduledProcedureStep) -> dict[str, Any]:
    """A performed step in the DICOM JSON model (PS3.18 F), as far as people look at it."""

    def element(vr: str, value: Any) -> dict[str, Any]:
        return {"vr": vr, "Value": [value]}

    return {
        "00080060": element("CS", case.exam.modality),
        "00400241": element("AE", exam.station_ae_title),
        "00400253": element("SH", step.step_id),
        "00400254": element("LO", step.description),
        "00400270": element(
            "SQ",
            {
                "0020000D": element("UI", exam.procedure.study_instance_uid),
                "00080050": element("SH", exam.order.accession_number),
                "00400009": element("SH", step.step_id),
            },
        ),
    }


def _save(model: type[_Row], rows: Iterable[_Row]) -> None:
    model._default_manager.bulk_create(list(rows), batch_size=1000)
