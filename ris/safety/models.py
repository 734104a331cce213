"""What must be known before somebody is scanned: questions, answers, lasting facts, and who cleared what.

The worklist reads these tables of a patient (`patient_id`), always with `withdrawn_at IS NULL`, which has an index:

* Pregnancy Status (0010,21C0): newest `told_at` of `safety_statement` with `kind` = 'pregnancy'; `value` is
  'not' 1, 'possible' 2, 'definite' 3, 'unknown' 4. A 'not' holds on its own day in the facility's zone only.
* Medical Alerts (0010,2000): `safety_implant` with `mr` other than 'safe': `name`; the newest `safety_statement`
  of `kind` 'anticoagulant', 'diabetes' or 'metformin' with `value` = 'yes'.
* Allergies (0010,2110): `safety_reaction`: `agent`, `severity`; beside patients_patient.allergies.
* Special Needs (0038,0050): the newest `safety_statement` of `kind` 'claustrophobia' with `value` = 'yes'.
"""

from typing import ClassVar, NotRequired, TypedDict

import pgtrigger
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from ris.core.flow import StatusRecord
from ris.core.guards import append_only, never_deleted
from ris.orders.models import Order, Side
from ris.patients.models import Patient, of_a_living_patient
from ris.safety.states import QUESTIONNAIRE_FLOW, QuestionnaireStatus


class Question(TypedDict):
    """One question as it is kept in an edition."""

    code: str
    text: str
    #: yesno (which always offers "not sure"), choice, number, date, text.
    kind: str
    help: NotRequired[str]
    #: [value, words] of a choice.
    choices: NotRequired[list[list[str]]]
    #: The answers that somebody has to think about.
    matters: NotRequired[list[str]]
    #: What such an answer means: "implant" (an MR stop until a device is recorded or cleared), "ask", "condition".
    effect: NotRequired[str]
    #: What to do about it, for the passport.
    sentence: NotRequired[str]
    #: Asked in words when the answer matters.
    follow_up: NotRequired[str]
    #: The statement (`Statement.Kind`) that the answer makes.
    states: NotRequired[str]
    #: Only for those who may be pregnant.
    childbearing: NotRequired[bool]
    #: Words and codes (OBX-3) under which requesters ask the same.
    asked_as: NotRequired[list[str]]


_PUBLISHED_STAYS = """
IF OLD.status <> 'draft' AND
   (to_jsonb(NEW) - ARRAY['status', 'status_at', 'version', 'retired_at'])
   IS DISTINCT FROM (to_jsonb(OLD) - ARRAY['status', 'status_at', 'version', 'retired_at']) THEN
    RAISE EXCEPTION 'edition % of questionnaire % is published and stays as it is', OLD.edition, OLD.code
        USING ERRCODE = 'check_violation';
END IF;
RETURN NEW;
"""


class Contrast(models.TextChoices):
    ANY = "any", "With or without contrast"
    WITH = "with", "Only with contrast"


class Questionnaire(StatusRecord):
    """One edition of a set of questions. Once it is published nothing in it changes: answers refer to its words."""

    flow = QUESTIONNAIRE_FLOW

    status = models.CharField(max_length=20, choices=QuestionnaireStatus, default=QuestionnaireStatus.DRAFT)
    code = models.SlugField(max_length=16)
    edition = models.PositiveSmallIntegerField(default=1)
    title = models.CharField(max_length=80)
    intro = models.CharField(max_length=300, blank=True)
    #: The exams it is for.
    modalities = ArrayField(models.CharField(max_length=16))
    contrast = models.CharField(max_length=5, choices=Contrast, default=Contrast.ANY)
    #: Only for those who may be pregnant (the ages and body parts of the rule "pregnancy").
    childbearing = models.BooleanField(default=False)
    #: How many days a review holds; 0 is its own day.
    valid_days = models.PositiveSmallIntegerField(default=0)
    #: A list of `Question`.
    questions = models.JSONField(default=list)
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    made_at = models.DateTimeField(default=timezone.now)
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    published_at = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["code", "-edition"]
        constraints = [
            QUESTIONNAIRE_FLOW.check("questionnaire_status_known"),
            models.UniqueConstraint(fields=["code", "edition"], name="questionnaire_edition_once"),
            models.UniqueConstraint(
                fields=["code"],
                condition=Q(status=QuestionnaireStatus.PUBLISHED),
                name="one_edition_of_a_questionnaire_in_use",
            ),
            models.UniqueConstraint(
                fields=["code"],
                condition=Q(status=QuestionnaireStatus.DRAFT),
                name="one_draft_of_a_questionnaire",
            ),
            models.CheckConstraint(
                condition=Q(status__in=[QuestionnaireStatus.DRAFT, QuestionnaireStatus.DISCARDED])
                | (Q(published_at__isnull=False) & Q(published_by__isnull=False)),
                name="published_questionnaire_says_by_whom",
            ),
        ]
        triggers = [
            QUESTIONNAIRE_FLOW.trigger(),
            never_deleted(),
            pgtrigger.Trigger(
                name="published_stays_as_it_is",
                operation=pgtrigger.Update,
                when=pgtrigger.Before,
                func=_PUBLISHED_STAYS,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.title}, edition {self.edition}"


class Stage(models.TextChoices):
    """When it was asked; each later one begins with what the earlier was told."""

    ORDER = "order", "With the order"
    ARRIVAL = "arrival", "At arrival"
    INTERVIEW = "interview", "Interview before the scan"


class SaidBy(models.TextChoices):
    PATIENT = "patient", "Patient"
    RELATIVE = "relative", "Relative or carer"
    REQUESTER = "requester", "Requester"
    STAFF = "staff", "Staff"


class AnswerSet(models.Model):
    """What was answered at one stage, as it was said then. It goes with its order; a change is a further set."""

    append_only = True

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="answer_sets")
    questionnaire = models.ForeignKey(Questionnaire, on_delete=models.PROTECT, related_name="answer_sets")
    stage = models.CharField(max_length=10, choices=Stage)
    #: {question code: {"value": ..., "note": ...}}.
    answers = models.JSONField(default=dict)
    said_by = models.CharField(max_length=10, choices=SaidBy, default=SaidBy.PATIENT)
    entered_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    entered_at = models.DateTimeField(default=timezone.now)
    #: When `entered_by` went through the answers with the patient and put their name to it.
    reviewed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(stage__in=Stage.values), name="answers_stage_known"),
            models.CheckConstraint(
                condition=~Q(stage=Stage.INTERVIEW) | Q(reviewed_at__isnull=False),
                name="interview_is_reviewed_with_the_patient",
            ),
        ]
        indexes = [models.Index(fields=["order", "-entered_at"], name="answers_of_an_order")]
        triggers = append_only()

    def __str__(self) -> str:
        return f"{self.questionnaire} {self.stage}"


class Source(models.TextChoices):
    PATIENT = "patient", "Patient"
    RELATIVE = "relative", "Relative or carer"
    REQUESTER = "requester", "Requester"
    ORDER = "order", "Order"
    CARD = "card", "Device card"
    RECORD = "record", "Other record"
    LAB = "lab", "Laboratory"


_LATER = (
    "ARRAY['patient_id','verified_at','verified_by_id','withdrawn_at','withdrawn_by_id','withdrawn_reason']"
)

# A merge may move a fact to another record, somebody may vouch for it or withdraw it; what it says stays.
_FACT_STAYS = f"""
IF (to_jsonb(NEW) - {_LATER}) IS DISTINCT FROM (to_jsonb(OLD) - {_LATER})
   OR (OLD.withdrawn_at IS NOT NULL AND (NEW.withdrawn_at, NEW.withdrawn_by_id, NEW.withdrawn_reason)
       IS DISTINCT FROM (OLD.withdrawn_at, OLD.withdrawn_by_id, OLD.withdrawn_reason)) THEN
    RAISE EXCEPTION 'a fact of % stays as it was written', TG_TABLE_NAME USING ERRCODE = 'check_violation';
END IF;
RETURN NEW;
"""


class PatientFact(models.Model):
    """Something about a patient that lasts beyond a visit. What is wrong is withdrawn with a reason."""

    visit_path: ClassVar[str] = "order__visit"

    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="%(class)ss")
    #: The order with which it became known, if there was one.
    order = models.ForeignKey(Order, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    source = models.CharField(max_length=10, choices=Source, default=Source.PATIENT)
    told_at = models.DateTimeField(default=timezone.now)
    noted_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    verified_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    verified_at = models.DateTimeField(null=True, blank=True)
    withdrawn_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    withdrawn_reason = models.CharField(max_length=200, blank=True)

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=Q(withdrawn_at=None, withdrawn_by=None, withdrawn_reason="")
                | (Q(withdrawn_at__isnull=False, withdrawn_by__isnull=False) & ~Q(withdrawn_reason="")),
                name="%(class)s_withdrawn_with_a_reason",
            ),
        ]
        indexes = [
            models.Index(fields=["patient"], condition=Q(withdrawn_at=None), name="%(class)ss_that_stand"),
            models.Index(
                fields=["withdrawn_at"], condition=Q(withdrawn_at__isnull=False), name="%(class)ss_gone"
            ),
        ]
        triggers = [
            never_deleted(),
            of_a_living_patient(),
            pgtrigger.Trigger(
                name="fact_stays_as_written",
                operation=pgtrigger.Update,
                when=pgtrigger.Before,
                func=_FACT_STAYS,
            ),
        ]

    @property
    def key(self) -> str:
        """What a clearance names it by."""
        return f"{self._meta.model_name}:{self.pk}"


class MrCondition(models.TextChoices):
    """ASTM F2503."""

    SAFE = "safe", "MR safe"
    CONDITIONAL = "conditional", "MR conditional"
    UNSAFE = "unsafe", "MR unsafe"
    UNKNOWN = "unknown", "Not known"


class Implant(PatientFact):
    """A device or a piece of metal in or on the body."""

    name = models.CharField(max_length=80)
    maker = models.CharField(max_length=60, blank=True)
    model = models.CharField(max_length=60, blank=True)
    mr = models.CharField(max_length=12, choices=MrCondition, default=MrCondition.UNKNOWN)
    #: The strongest field its maker allows, in tesla.
    max_tesla = models.DecimalField(max_digits=3, decimal_places=1, null=True, blank=True)
    conditions = models.CharField(max_length=400, blank=True)
    body_site = models.CharField(max_length=40, blank=True)
    side = models.CharField(max_length=1, choices=Side, default=Side.NONE, blank=True)
    #: As far as it is known: YYYY, YYYY-MM or YYYY-MM-DD.
    implanted_on = models.CharField(max_length=10, blank=True)

    class Meta(PatientFact.Meta):
        constraints = [
            *PatientFact.Meta.constraints,
            models.CheckConstraint(condition=Q(mr__in=MrCondition.values), name="implant_mr_condition_known"),
            models.CheckConstraint(
                condition=Q(implanted_on="") | Q(implanted_on__regex=r"^\d{4}(-\d{2}(-\d{2})?)?$"),
                name="implanted_on_is_a_date_or_part_of_one",
            ),
        ]

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, self.maker, self.model)))

    @property
    def where(self) -> str:
        side = Side(self.side).label.lower() if self.side else ""
        return ", ".join(filter(None, (self.body_site, side)))


class Agent(models.TextChoices):
    IODINE = "iodine", "Iodinated contrast"
    GADOLINIUM = "gadolinium", "Gadolinium contrast"
    OTHER = "other", "Something else"


class Severity(models.TextChoices):
    MILD = "mild", "Mild"
    MODERATE = "moderate", "Moderate"
    SEVERE = "severe", "Severe"
    UNKNOWN = "unknown", "Not known"


class Reaction(PatientFact):
    """A reaction to a contrast medium, or to something else given here."""

    kind = models.CharField(max_length=10, choices=Agent, default=Agent.IODINE)
    agent = models.CharField(max_length=80, blank=True)
    severity = models.CharField(max_length=10, choices=Severity, default=Severity.UNKNOWN)
    description = models.CharField(max_length=200, blank=True)
    happened_on = models.CharField(max_length=10, blank=True)
    premedication = models.CharField(max_length=200, blank=True)

    class Meta(PatientFact.Meta):
        constraints = [
            *PatientFact.Meta.constraints,
            models.CheckConstraint(
                condition=Q(kind__in=Agent.values) & Q(severity__in=Severity.values), name="reaction_known"
            ),
        ]

    def __str__(self) -> str:
        return self.agent or Agent(self.kind).label


class RenalValue(PatientFact):
    """An eGFR in mL/min/1.73 m², as the laboratory gave it or worked out from a creatinine in mg/dL."""

    measured_on = models.DateField()
    egfr = models.DecimalField(max_digits=4, decimal_places=0)
    creatinine = models.DecimalField(max_digits=5, decimal_places=2, null=True, blank=True)
    calculated = models.BooleanField(default=False)

    class Meta(PatientFact.Meta):
        constraints = [
            *PatientFact.Meta.constraints,
            models.CheckConstraint(condition=Q(egfr__gt=0, egfr__lte=250), name="egfr_1_to_250"),
        ]

    def __str__(self) -> str:
        return f"eGFR {self.egfr}"


class Statement(PatientFact):
    """Something a person said of themselves; the newest of its kind counts."""

    class Kind(models.TextChoices):
        PREGNANCY = "pregnancy", "Pregnancy"
        IMPLANTS = "implants", "Implants"
        ANTICOAGULANT = "anticoagulant", "Blood thinner"
        DIABETES = "diabetes", "Diabetes"
        METFORMIN = "metformin", "Metformin"
        CLAUSTROPHOBIA = "claustrophobia", "Fear of narrow spaces"
        WEIGHT = "weight", "Weight"

    kind = models.CharField(max_length=16, choices=Kind)
    #: pregnancy: not, possible, definite, unknown; implants: none; weight: kilograms; others yes, no, unknown.
    value = models.CharField(max_length=20)
    detail = models.CharField(max_length=200, blank=True)

    class Meta(PatientFact.Meta):
        constraints = [
            *PatientFact.Meta.constraints,
            models.CheckConstraint(condition=~Q(value=""), name="statement_says_something"),
            models.CheckConstraint(
                condition=~Q(kind="pregnancy") | Q(value__in=["not", "possible", "definite", "unknown"]),
                name="pregnancy_in_four_words",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.words}"

    @property
    def words(self) -> str:
        if self.kind == self.Kind.WEIGHT:
            return f"{self.value} kg"
        return STATEMENT_WORDS.get((self.kind, self.value)) or _ANSWERS.get(self.value, self.value)


_ANSWERS = {"yes": "Yes", "no": "No", "unknown": "Not sure", "none": "None"}
STATEMENT_WORDS = {
    ("pregnancy", "not"): "Not pregnant",
    ("pregnancy", "possible"): "May be pregnant",
    ("pregnancy", "definite"): "Pregnant",
    ("pregnancy", "unknown"): "Not known",
}


class Clearance(models.Model):
    """Somebody with the right has looked at a rule that fired for an order, and let it pass or not. For that day."""

    append_only = True

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="clearances")
    rule = models.CharField(max_length=40)
    #: What was looked at ("implant:12"); what comes to be known later is not covered.
    covers = models.JSONField(default=list)
    granted = models.BooleanField(default=True)
    reason = models.CharField(max_length=300)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(reason=""), name="clearance_has_its_reason"),
            models.CheckConstraint(condition=Q(expires_at__gt=F("at")), name="clearance_ends_after_it_began"),
        ]
        indexes = [models.Index(fields=["order", "-at"], name="clearances_of_an_order")]
        triggers = append_only()

    def __str__(self) -> str:
        return f"{self.rule} {self.order}"


class ClearanceRequest(models.Model):
    """Somebody stands at the scanner and asks for a clearance."""

    append_only = True

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="clearance_requests")
    rule = models.CharField(max_length=40)
    note = models.CharField(max_length=200, blank=True)
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    asked_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["-asked_at"], name="clearances_asked_for")]
        triggers = append_only()

    def __str__(self) -> str:
        return f"{self.rule} {self.order}"


class RuleSetting(models.Model):
    """What the site has changed of a rule of `ris.safety.rules`; without a row its default stands."""

    code = models.CharField(max_length=40, unique=True)
    active = models.BooleanField(default=True)
    #: How long what was said or measured stands, in days; 0 is its own day, empty until it is changed.
    valid_days = models.PositiveSmallIntegerField(null=True, blank=True)
    limit = models.DecimalField(max_digits=6, decimal_places=1, null=True, blank=True)
    age_from = models.PositiveSmallIntegerField(null=True, blank=True)
    age_to = models.PositiveSmallIntegerField(null=True, blank=True)
    modalities = ArrayField(models.CharField(max_length=16), default=list, blank=True)
    #: Words of the catalogue's body parts that the rule leaves out.
    except_parts = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    changed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(age_from=None) | Q(age_to=None) | Q(age_from__lte=F("age_to")),
                name="rule_ages_in_order",
            ),
        ]

    def __str__(self) -> str:
        return self.code
