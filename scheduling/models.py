"""PLANNED: when, where and for whom a room is taken."""

from datetime import datetime
from typing import ClassVar

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, DateTimeRangeField, RangeOperators
from django.contrib.postgres.indexes import GistIndex
from django.db import models
from django.db.models import F, Q

from ris.core.flow import StatusRecord
from ris.core.guards import never_deleted
from ris.department.models import Modality, Practitioner, Room
from ris.orders.models import Order, RequestedProcedure
from ris.patients.models import Patient, of_a_living_patient
from scheduling.states import APPOINTMENT_FLOW, LIVE, SHOWABLE, STEP_FLOW, AppointmentStatus, StepStatus


class Opening(models.Model):
    """A room's weekly hours, in its facility's local time. Monday is 0."""

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="openings")
    weekday = models.PositiveSmallIntegerField()
    opens = models.TimeField()
    closes = models.TimeField()

    class Meta:
        ordering = ["room", "weekday", "opens"]
        constraints = [
            models.CheckConstraint(condition=Q(weekday__lte=6), name="opening_on_a_day_of_the_week"),
            models.CheckConstraint(condition=Q(opens__lt=F("closes")), name="opening_ends_after_it_begins"),
        ]

    def __str__(self) -> str:
        return f"{self.room} {self.weekday} {self.opens:%H:%M}-{self.closes:%H:%M}"


class Block(models.Model):
    """A time when a room is not booked: service, break, reserve."""

    room = models.ForeignKey(Room, on_delete=models.PROTECT, related_name="blocks")
    during = DateTimeRangeField()
    reason = models.CharField(max_length=80)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(during__isempty=False, during__lower_inf=False, during__upper_inf=False),
                name="block_has_a_beginning_and_an_end",
            ),
        ]
        indexes = [
            GistIndex(
                fields=["room", "during"], name="blocks_of_a_room", opclasses=["gist_int8_ops", "range_ops"]
            )
        ]

    def __str__(self) -> str:
        return f"{self.room}: {self.reason}"

    @property
    def span(self) -> tuple[datetime, datetime]:
        starts, ends = self.during.lower, self.during.upper
        assert starts, "a block has a beginning"
        assert ends, "a block has an end"
        return starts, ends


class Appointment(StatusRecord):
    """A patient's time in a room for one order."""

    flow = APPOINTMENT_FLOW
    visit_path: ClassVar[str] = "order__visit"

    status = models.CharField(max_length=20, choices=AppointmentStatus, default=AppointmentStatus.BOOKED)
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="appointments")
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="appointments")
    room = models.ForeignKey(Room, on_delete=models.PROTECT, related_name="appointments")
    during = DateTimeRangeField()
    note = models.CharField(max_length=200, blank=True)
    #: Scheduled Performing Physician (0040,0006); OBR-34.
    performer = models.ForeignKey(
        Practitioner, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    #: Why two patients share the time; blank unless somebody with the right over-booked.
    overbook_reason = models.CharField(max_length=200, blank=True)
    cancel_reason = models.CharField(max_length=200, blank=True)
    #: The outside scheduler that keeps this appointment too: its endpoint's name, and its numbers of it
    #: (SCH-1, SCH-2) with their namespaces joined by "^". Blank when it was booked here.
    source = models.CharField(max_length=64, blank=True)
    placer_number = models.CharField(max_length=120, blank=True)
    filler_number = models.CharField(max_length=120, blank=True)
    booked_by = models.ForeignKey("accounts.User", on_delete=models.PROTECT, related_name="+")
    booked_at = models.DateTimeField(auto_now_add=True)
    arrived_at = models.DateTimeField(null=True, blank=True)
    ready_at = models.DateTimeField(null=True, blank=True)
    fulfilled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            APPOINTMENT_FLOW.check("appointment_status_known"),
            models.CheckConstraint(
                condition=Q(during__isempty=False, during__lower_inf=False, during__upper_inf=False),
                name="appointment_has_a_beginning_and_an_end",
            ),
            ExclusionConstraint(
                name="room_not_double_booked",
                expressions=[("room", RangeOperators.EQUAL), ("during", RangeOperators.OVERLAPS)],
                condition=Q(status__in=LIVE, overbook_reason=""),
            ),
            ExclusionConstraint(
                name="patient_not_double_booked",
                expressions=[("patient", RangeOperators.EQUAL), ("during", RangeOperators.OVERLAPS)],
                condition=Q(status__in=LIVE),
            ),
            models.UniqueConstraint(
                fields=["order"], condition=Q(status__in=LIVE), name="order_has_one_live_appointment"
            ),
        ]
        indexes = [
            # The board, the schedule and the search for free times: whatever lies in a stretch of time.
            GistIndex(fields=["during"], name="appointments_by_time"),
            # An outside scheduler's message names its own number.
            models.Index(
                fields=["source", "placer_number"], condition=~Q(source=""), name="appointments_by_source"
            ),
        ]
        triggers = [APPOINTMENT_FLOW.trigger(), never_deleted(), of_a_living_patient()]

    def __str__(self) -> str:
        return f"{self.order} {self.starts_at:%Y-%m-%d %H:%M} {self.room}"

    @property
    def starts_at(self) -> datetime:
        starts = self.during.lower
        assert starts is not None, "the database refuses an open beginning"
        return starts

    @property
    def ends_at(self) -> datetime:
        ends = self.during.upper
        assert ends is not None, "the database refuses an open end"
        return ends


class ScheduledProcedureStep(StatusRecord):
    """What a modality finds on its worklist (PS3.4 K). The worklist is a query over these rows, never a copy."""

    flow = STEP_FLOW

    status = models.CharField(max_length=20, choices=StepStatus, default=StepStatus.SCHEDULED)
    appointment = models.ForeignKey(Appointment, on_delete=models.PROTECT, related_name="steps")
    procedure = models.ForeignKey(RequestedProcedure, on_delete=models.PROTECT, related_name="steps")
    #: Scheduled Procedure Step ID (0040,0009), VR SH.
    step_id = models.CharField(max_length=16, unique=True)
    modality = models.CharField(max_length=16, choices=Modality)
    #: Scheduled Station AE Title (0040,0001): every machine of the room.
    station_ae_titles = ArrayField(models.CharField(max_length=16), default=list)
    starts_at = models.DateTimeField()
    description = models.CharField(max_length=64, blank=True)
    protocol_code = models.CharField(max_length=16, blank=True)
    protocol_scheme = models.CharField(max_length=16, blank=True)

    class Meta:
        constraints = [STEP_FLOW.check("step_status_known")]
        indexes = [
            # The worklist C-FIND: what is still to be done, by start.
            models.Index(
                fields=["starts_at", "id"], condition=Q(status__in=SHOWABLE), name="steps_on_worklist"
            ),
            # The same with a modality, which nearly every machine names.
            models.Index(
                fields=["modality", "starts_at"],
                condition=Q(status__in=SHOWABLE),
                name="steps_on_worklist_modality",
            ),
            # The same for one machine: by the first of a step's machines, and those that have several.
            models.Index(
                F("station_ae_titles__0"),
                "starts_at",
                condition=Q(status__in=SHOWABLE),
                name="steps_on_worklist_station",
            ),
            models.Index(
                fields=["starts_at"],
                condition=Q(status__in=SHOWABLE, station_ae_titles__1__isnull=False),
                name="steps_of_several_stations",
            ),
        ]
        triggers = [STEP_FLOW.trigger(), never_deleted()]

    def __str__(self) -> str:
        return self.step_id
