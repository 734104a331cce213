"""Patients, their numbers by assigning authority, their visits, and which record went into which."""

from datetime import date
from typing import ClassVar

import pgtrigger
from django.conf import settings
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import Q
from django.utils import timezone

from ris.core.flow import StatusRecord
from ris.core.guards import never_deleted
from ris.core.names import PersonName
from ris.department.models import Practitioner
from ris.patients.states import VISIT_FLOW, VisitStatus


class Sex(models.TextChoices):
    """Administrative sex, HL7 table 0001."""

    MALE = "M", "Male"
    FEMALE = "F", "Female"
    OTHER = "O", "Other"
    UNKNOWN = "U", "Not known"
    AMBIGUOUS = "A", "Ambiguous"
    NOT_APPLICABLE = "N", "Not specified"


# In one order, so that two writers wait for each other and never both. 60: levenshtein() refuses long words.
WORDS_OF_NAMES = """
INSERT INTO patients_nameword (word)
SELECT DISTINCT typed.word FROM regexp_split_to_table(NEW.search, ' ') AS typed(word)
WHERE typed.word !~ '[0-9]' AND length(typed.word) BETWEEN 2 AND 60
  AND NOT EXISTS (SELECT 1 FROM patients_nameword known WHERE known.word = typed.word)
ORDER BY typed.word
ON CONFLICT DO NOTHING;
RETURN NULL;
"""


# Waits for a merge that is about to commit, since a merge holds its patients FOR UPDATE.
_NO_RETIRED_PATIENT = """
IF (SELECT merged_into_id FROM patients_patient WHERE id = NEW.patient_id FOR KEY SHARE) IS NOT NULL THEN
    RAISE EXCEPTION 'patient % has been merged into another record', NEW.patient_id
        USING ERRCODE = 'check_violation';
END IF;
RETURN NEW;
"""

# Looked at when the transaction commits: whatever order a merge moved things in, nothing is left behind.
_NOTHING_LEFT_BEHIND = """
IF EXISTS (SELECT 1 FROM patients_patient WHERE id = NEW.id AND merged_into_id IS NOT NULL) AND (
    EXISTS (SELECT 1 FROM patients_patient WHERE merged_into_id = NEW.id)
    OR EXISTS (SELECT 1 FROM patients_visit WHERE patient_id = NEW.id)
    OR EXISTS (SELECT 1 FROM orders_order WHERE patient_id = NEW.id)
    OR EXISTS (SELECT 1 FROM scheduling_appointment WHERE patient_id = NEW.id)
) THEN
    RAISE EXCEPTION 'patient % is merged and still has records', NEW.id USING ERRCODE = 'check_violation';
END IF;
RETURN NULL;
"""


def of_a_living_patient() -> pgtrigger.Trigger:
    """For a table with `patient`: no row may name a record that was merged into another."""
    return pgtrigger.Trigger(
        name="of_a_living_patient",
        operation=pgtrigger.Insert | pgtrigger.UpdateOf("patient_id"),  # type: ignore[no-untyped-call]
        when=pgtrigger.Before,
        func=_NO_RETIRED_PATIENT,
    )


class Patient(models.Model):
    """A person examined here, under whichever numbers others know them."""

    family = models.CharField(max_length=100)
    given = models.CharField(max_length=100, blank=True)
    middle = models.CharField(max_length=100, blank=True)
    prefix = models.CharField(max_length=40, blank=True)
    suffix = models.CharField(max_length=40, blank=True)
    ideographic = models.CharField(max_length=100, blank=True)
    phonetic = models.CharField(max_length=100, blank=True)
    #: As far as it is known: YYYY, YYYY-MM or YYYY-MM-DD.
    birth_date = models.CharField(max_length=10, blank=True)
    sex = models.CharField(max_length=1, choices=Sex, default=Sex.UNKNOWN)
    phone = models.CharField(max_length=40, blank=True)
    mobile = models.CharField(max_length=40, blank=True)
    email = models.CharField(max_length=120, blank=True)
    address = models.CharField(max_length=300, blank=True)
    language = models.CharField(max_length=40, blank=True)
    allergies = models.CharField(max_length=300, blank=True)
    alerts = models.CharField(max_length=300, blank=True)
    died_on = models.CharField(max_length=10, blank=True)
    #: Other names (PID-9), and the mother's maiden name (PID-6, (0010,1060)).
    aliases = models.CharField(max_length=300, blank=True)
    mothers_name = models.CharField(max_length=100, blank=True)
    race = models.CharField(max_length=80, blank=True)
    #: One of twins or more (PID-24): name and birth date alone do not tell them apart.
    multiple_birth = models.BooleanField(default=False)
    #: Next of kin (NK1) and insurances (IN1) as they were told: [{"name": ..., ...}].
    contacts = models.JSONField(default=list, blank=True)
    coverages = models.JSONField(default=list, blank=True)
    restricted = models.BooleanField(default=False)
    merged_into = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="retired"
    )
    registered_at = models.DateTimeField(auto_now_add=True)
    #: EVN-2 or MSH-7 of the newest message applied; an older one does not overwrite a newer.
    updated_at = models.DateTimeField(null=True, blank=True)
    version = models.PositiveIntegerField(default=1)
    #: Names, birth date, numbers and phones folded, kept by the verbs for searching.
    search = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(birth_date="") | Q(birth_date__regex=r"^\d{4}(-\d{2}(-\d{2})?)?$"),
                name="birth_date_is_a_date_or_part_of_one",
            ),
            models.CheckConstraint(condition=Q(sex__in=Sex.values), name="sex_in_table_0001"),
            models.CheckConstraint(
                condition=~Q(merged_into=models.F("id")), name="patient_not_merged_into_itself"
            ),
        ]
        indexes = [
            # Search by fragments and by likeness.
            GinIndex(OpClass("search", name="gin_trgm_ops"), name="patient_search_trigrams"),
            # The worklist's Patient's Name key: prefixes of the folded family name.
            models.Index(
                OpClass(models.functions.Upper("family"), name="text_pattern_ops"), name="patient_by_family"
            ),
            # Its other component groups, which few names have.
            models.Index(
                OpClass(models.functions.Upper("ideographic"), name="text_pattern_ops"),
                condition=~Q(ideographic=""),
                name="patient_by_ideographic",
            ),
            models.Index(
                OpClass(models.functions.Upper("phonetic"), name="text_pattern_ops"),
                condition=~Q(phonetic=""),
                name="patient_by_phonetic",
            ),
        ]
        triggers = [
            never_deleted(),
            pgtrigger.Trigger(
                name="words_of_names_are_known",
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("search"),  # type: ignore[no-untyped-call]
                when=pgtrigger.After,
                func=WORDS_OF_NAMES,
            ),
            pgtrigger.Trigger(
                name="merged_with_all_it_had",
                operation=pgtrigger.UpdateOf("merged_into_id"),  # type: ignore[no-untyped-call]
                when=pgtrigger.After,
                timing=pgtrigger.Deferred,
                condition=pgtrigger.Q(new__merged_into__isnull=False),
                func=_NOTHING_LEFT_BEHIND,
            ),
        ]

    def __str__(self) -> str:
        return self.name.display

    @property
    def name(self) -> PersonName:
        return PersonName(
            self.family, self.given, self.middle, self.prefix, self.suffix, self.ideographic, self.phonetic
        )

    @property
    def also_written(self) -> str:
        """The name in ideographic and phonetic script, as people write it: 山田 太郎 · やまだ たろう."""
        groups = (self.ideographic, self.phonetic)
        return " · ".join(" ".join(group.replace("^", " ").split()) for group in groups if group)

    @property
    def birth_day(self) -> date | None:
        """The full birth date, or None when only a part of it is known."""
        return date.fromisoformat(self.birth_date) if len(self.birth_date) == 10 else None

    @property
    def mrn(self) -> str:
        """The number of the primary identifier; prefetch `identifiers` on lists."""
        known = sorted(self.identifiers.all(), key=lambda identifier: (not identifier.primary, identifier.pk))
        return known[0].value if known else ""


class NameWord(models.Model):
    """A word that is part of some patient's name, folded: what a mistyped one is compared with.

    Far fewer than patients, so comparing with all of them is quick. Kept by a trigger on Patient.
    """

    word = models.CharField(primary_key=True, max_length=60)

    def __str__(self) -> str:
        return self.word


class PatientIdentifier(models.Model):
    """One number of one authority (PID-3): value and authority together name the patient, never the value alone."""

    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="identifiers")
    value = models.CharField(max_length=64)
    authority = models.CharField(max_length=64)
    #: HL7 table 0203.
    type = models.CharField(max_length=5, default="MR")
    primary = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["authority", "value"], name="identifier_names_one_patient"),
            models.UniqueConstraint(
                fields=["patient"], condition=Q(primary=True), name="patient_has_one_primary_identifier"
            ),
        ]
        indexes = [
            # "MRN 004 417 268" typed by a person who does not name the authority; Patient ID of a worklist query.
            models.Index(fields=["value"], name="identifier_by_value"),
        ]

    def __str__(self) -> str:
        return f"{self.value} ({self.authority})"


class PatientClass(models.TextChoices):
    """HL7 table 0004."""

    EMERGENCY = "E", "ED"
    INPATIENT = "I", "Inpatient"
    OUTPATIENT = "O", "Outpatient"
    PREADMIT = "P", "Pre-admit"
    RECURRING = "R", "Recurring"
    OBSTETRICS = "B", "Obstetrics"
    COMMERCIAL = "C", "Commercial account"
    NOT_APPLICABLE = "N", "Not applicable"
    UNKNOWN = "U", "Not known"


class Visit(StatusRecord):
    """A stay or call at the hospital, as the EMR told it (PV1)."""

    flow = VISIT_FLOW
    #: How a row that is a patient's own leads to its visit: `merge_patients` and `move_visit` go by it.
    visit_path: ClassVar[str] = "pk"

    status = models.CharField(max_length=20, choices=VisitStatus, default=VisitStatus.ACTIVE)
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="visits")
    number = models.CharField(max_length=64)
    authority = models.CharField(max_length=64, blank=True)
    patient_class = models.CharField(max_length=1, choices=PatientClass, default=PatientClass.UNKNOWN)
    location = models.CharField(max_length=80, blank=True)
    #: Where the patient was before the last transfer, should it be cancelled (A12).
    previous_location = models.CharField(max_length=80, blank=True)
    #: Hospital service, PV1-10.
    service = models.CharField(max_length=20, blank=True)
    account = models.CharField(max_length=64, blank=True)
    #: PV1-18 and PV1-20, for those who bill.
    patient_type = models.CharField(max_length=20, blank=True)
    financial_class = models.CharField(max_length=50, blank=True)
    attending = models.ForeignKey(
        Practitioner, on_delete=models.PROTECT, null=True, blank=True, related_name="attended_visits"
    )
    referring = models.ForeignKey(
        Practitioner, on_delete=models.PROTECT, null=True, blank=True, related_name="referred_visits"
    )
    admitting = models.ForeignKey(
        Practitioner, on_delete=models.PROTECT, null=True, blank=True, related_name="admitted_visits"
    )
    #: PV1-15 B6 and the like; blank when nothing was said.
    pregnancy = models.CharField(max_length=10, blank=True)
    admitted_at = models.DateTimeField(null=True, blank=True)
    discharged_at = models.DateTimeField(null=True, blank=True)
    #: EVN-2 of the newest event applied; an older one changes nothing.
    updated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["authority", "number"], name="visit_number_once_per_authority"),
            VISIT_FLOW.check("visit_status_known"),
        ]
        triggers = [VISIT_FLOW.trigger(), of_a_living_patient()]

    def __str__(self) -> str:
        return self.number


class Merge(models.Model):
    """One record that went into another, and what went with it, so that it can be taken back."""

    retired = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="merges")
    survivor = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="absorbed")
    at = models.DateTimeField(default=timezone.now)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField(max_length=200, blank=True)
    #: Row ids by model ("orders.Order"); under "patients.Patient" those retired into the retired record before.
    moved = models.JSONField(default=dict)
    #: Columns of the survivor that took over what the retired record said: {"allergies": [before, after]}.
    texts = models.JSONField(default=dict)
    undone_at = models.DateTimeField(null=True, blank=True)
    undone_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    undo_reason = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["retired"], condition=Q(undone_at=None), name="record_is_merged_once"
            ),
            models.CheckConstraint(condition=~Q(retired=models.F("survivor")), name="merge_of_two_records"),
        ]
        indexes = [models.Index(fields=["-at"], name="merges_newest_first")]
        triggers = [never_deleted()]

    def __str__(self) -> str:
        return f"merge {self.pk}"
