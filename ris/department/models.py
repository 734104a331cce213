"""What the department is and offers: places, machines, people, and the catalogue of exams."""

from ipaddress import ip_network

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

from ris.core.names import PersonName
from ris.core.stopping import COMES_BACK, DISCONTINUATION_REASONS, WRONG_ENTRY


class Modality(models.TextChoices):
    """Modality (0008,0060), the defined terms the catalogue uses (PS3.3 C.7.3.1.1.1)."""

    CT = "CT", "CT"
    MR = "MR", "MR"
    US = "US", "Ultrasound"
    XR = "DX", "X-ray"
    CR = "CR", "Computed radiography"
    MG = "MG", "Mammography"
    NM = "NM", "Nuclear medicine"
    PT = "PT", "PET"
    RF = "RF", "Fluoroscopy"
    XA = "XA", "Angiography"


class Laterality(models.TextChoices):
    NONE = "none", "No side"
    OPTIONAL = "optional", "Side may be given"
    REQUIRED = "required", "Side must be given"


def comes_back() -> list[str]:
    return list(COMES_BACK)


#: CID 9301 but for the wrong entry, after which an exam always comes back.
_STOPPED = [(code, words) for code, words in DISCONTINUATION_REASONS.items() if code != WRONG_ENTRY]


class Facility(models.Model):
    """A site with its own clock and its own patient numbers."""

    code = models.CharField(max_length=16, unique=True)
    name = models.CharField(max_length=64)
    timezone = models.CharField(max_length=40)
    phone = models.CharField(max_length=40, blank=True)
    address = models.CharField(max_length=200, blank=True)
    #: Authority of the numbers this site gives out (PID-3.4, Issuer of Patient ID).
    assigning_authority = models.CharField(max_length=64)
    accession_prefix = models.CharField(max_length=4, default="A")
    #: An exam that stops for one of these goes back on the worklist; for another its order ends.
    comes_back_after = ArrayField(
        models.CharField(max_length=16, choices=_STOPPED), default=comes_back, blank=True
    )

    class Meta:
        verbose_name_plural = "facilities"

    def __str__(self) -> str:
        return self.name


class Room(models.Model):
    """A place where one patient at a time is examined; what the schedule books."""

    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="rooms")
    code = models.SlugField(max_length=16)
    name = models.CharField(max_length=40)
    modality = models.CharField(max_length=16, choices=Modality)
    detail = models.CharField(max_length=40, blank=True)
    position = models.PositiveSmallIntegerField(default=0)
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ["position", "code"]
        constraints = [
            models.UniqueConstraint(fields=["facility", "code"], name="room_code_once_per_facility")
        ]

    def __str__(self) -> str:
        return self.name


def address_or_network(text: str) -> None:
    """`10.4.0.17` or `10.4.0.0/24`, of either family. Raises ValidationError."""
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise ValidationError(f"{text} is no address or network such as 10.4.0.17 or 10.4.0.0/24.") from None


class Shown(models.TextChoices):
    """Scheduled Procedure Step Status (0040,0020) of what a machine can be shown."""

    SCHEDULED = "SCHEDULED", "Scheduled"
    ARRIVED = "ARRIVED", "Arrived"
    READY = "READY", "Ready"
    STARTED = "STARTED", "Started"


def shown_before_the_start() -> list[str]:
    return [Shown.SCHEDULED.value, Shown.ARRIVED.value, Shown.READY.value]


class Offset(models.TextChoices):
    """When a machine is told Timezone Offset From UTC (0008,0201)."""

    ASKED = "asked", "When it asks for it"
    ALWAYS = "always", "Always"
    NEVER = "never", "Never"


class Letters(models.TextChoices):
    """What a machine can show beyond what its character set says."""

    ALL = "", "All of its character set"
    PLAIN = "plain", "No accents"
    CAPITALS = "capitals", "Capitals, no accents"


class Withheld(models.TextChoices):
    """Worklist attributes that may be sent empty (types 2 and 3), by keyword, to machines that stumble over them."""

    ALERTS = "MedicalAlerts", "Medical alerts"
    ALLERGIES = "Allergies", "Allergies"
    PREGNANCY = "PregnancyStatus", "Pregnancy status"
    SPECIAL_NEEDS = "SpecialNeeds", "Special needs"
    STATE = "PatientState", "Patient state"
    WEIGHT = "PatientWeight", "Weight"
    SIZE = "PatientSize", "Height"
    OTHER_IDS = "OtherPatientIDsSequence", "Other patient numbers"
    CONFIDENTIALITY = "ConfidentialityConstraintOnPatientDataDescription", "Confidentiality"
    LOCATION = "CurrentPatientLocation", "Where the patient is"
    TRANSPORT = "PatientTransportArrangements", "Transport"
    ADMISSION = "AdmissionID", "Admission number"
    REFERRER = "ReferringPhysicianName", "Referring physician"
    REQUESTER = "RequestingPhysician", "Requesting physician"
    PERFORMER = "ScheduledPerformingPhysicianName", "Performing physician"
    REASON = "ReasonForTheRequestedProcedure", "Reason"
    REQUEST_COMMENTS = "RequestedProcedureComments", "Clinical information"
    STEP_COMMENTS = "CommentsOnTheScheduledProcedureStep", "Note of the appointment"
    PRE_MEDICATION = "PreMedication", "Pre-medication"
    CONTRAST = "RequestedContrastAgent", "Contrast agent"


class Station(models.Model):
    """A machine on the DICOM network. An unknown or inactive one is refused its association."""

    room = models.ForeignKey(Room, on_delete=models.PROTECT, related_name="stations")
    ae_title = models.CharField(
        max_length=16,
        unique=True,
        validators=[
            RegexValidator(r"^[\x21-\x5b\x5d-\x7e]([\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?$")
        ],
    )
    name = models.CharField(max_length=16, blank=True)
    modality = models.CharField(max_length=16, choices=Modality)
    host = models.CharField(max_length=255, blank=True)
    port = models.PositiveIntegerField(null=True, blank=True)
    #: Specific Character Set (0008,0005) of what it is sent; blank means UTF-8 where needed.
    character_set = models.CharField(max_length=64, blank=True)
    active = models.BooleanField(default=True)
    #: Addresses and networks it may call from; none: any.
    allowed_addresses = ArrayField(
        models.CharField(max_length=50, validators=[address_or_network]), default=list, blank=True
    )
    #: SHA-256 of its certificate in hex: it calls over TLS with this one, and nobody else with it. Blank: any way.
    certificate_fingerprint = models.CharField(
        max_length=64, blank=True, validators=[RegexValidator(r"^[0-9a-f]{64}$")]
    )
    certificate_ends_at = models.DateTimeField(null=True, blank=True)
    # Its worklist. Each of these gives way to a key of the query that says otherwise.
    own_steps_only = models.BooleanField(default=False)
    #: Days before and after today; None: without end.
    days_before = models.PositiveSmallIntegerField(null=True, blank=True)
    days_after = models.PositiveSmallIntegerField(null=True, blank=True)
    shown = ArrayField(
        models.CharField(max_length=16, choices=Shown), default=shown_before_the_start, blank=True
    )
    # What it reports of its work (MPPS).
    #: Whether its COMPLETED ends the exam; if not, a technologist or evidence does (several steps for one exam).
    ends_exams = models.BooleanField(default=True)
    #: Whether a step that breaks PS3.4 table F.7.2-1 at its end is refused; else it is taken and noted.
    strict_steps = models.BooleanField(default=False)
    # How it is answered.
    timezone_offset = models.CharField(max_length=8, choices=Offset, default=Offset.ASKED)
    withheld = ArrayField(models.CharField(max_length=64, choices=Withheld), default=list, blank=True)
    #: Names and descriptions are cut to so many characters; numbers and codes never.
    longest_text = models.PositiveSmallIntegerField(null=True, blank=True)
    letters = models.CharField(max_length=8, choices=Letters, default=Letters.ALL, blank=True)

    class Meta:
        ordering = ["ae_title"]
        constraints = [
            models.CheckConstraint(
                condition=Q(longest_text=None) | Q(longest_text__gte=8, longest_text__lte=64),
                name="station_shows_8_to_64_characters",
            ),
        ]

    def __str__(self) -> str:
        return self.ae_title


class Practitioner(models.Model):
    """Somebody who orders, performs or reads: the XCN of the messages."""

    identifier = models.CharField(max_length=64)
    authority = models.CharField(max_length=64, blank=True)
    family = models.CharField(max_length=100)
    given = models.CharField(max_length=100, blank=True)
    middle = models.CharField(max_length=100, blank=True)
    prefix = models.CharField(max_length=40, blank=True)
    suffix = models.CharField(max_length=40, blank=True)
    phone = models.CharField(max_length=40, blank=True)
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="practitioner"
    )
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ["family", "given"]
        constraints = [
            models.UniqueConstraint(fields=["authority", "identifier"], name="practitioner_known_once"),
        ]

    def __str__(self) -> str:
        return self.name.display

    @property
    def name(self) -> PersonName:
        return PersonName(self.family, self.given, self.middle, self.prefix, self.suffix)

    @property
    def short(self) -> str:
        """Dr Lindgren."""
        return " ".join(part for part in (self.prefix, self.family) if part)


class ProcedureType(models.Model):
    """An exam the department offers."""

    code = models.CharField(max_length=16, unique=True)
    scheme = models.CharField(max_length=16, default="L")
    name = models.CharField(max_length=64)
    synonyms = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    modality = models.CharField(max_length=16, choices=Modality)
    #: Further machines one exam needs, each with a scheduled step of its own: CT for a PET/CT.
    also_on = ArrayField(models.CharField(max_length=16, choices=Modality), default=list, blank=True)
    body_part = models.CharField(max_length=40, blank=True)
    laterality = models.CharField(max_length=10, choices=Laterality, default=Laterality.NONE)
    duration_minutes = models.PositiveSmallIntegerField(default=30)
    prep = models.TextField(blank=True)
    contrast = models.BooleanField(default=False)
    technical_code = models.CharField(max_length=16, blank=True)
    professional_code = models.CharField(max_length=16, blank=True)
    active = models.BooleanField(default=True)
    #: Code, name and synonyms folded, kept by `department.actions` for searching.
    search = models.TextField(blank=True)

    class Meta:
        ordering = ["modality", "name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(duration_minutes__gte=5, duration_minutes__lte=480),
                name="exam_takes_5_to_480_minutes",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class CodeMapping(models.Model):
    """A sender's exam code and what it means here; made when a person matches an unknown code."""

    sender = models.CharField(max_length=64)
    code = models.CharField(max_length=64)
    procedure_type = models.ForeignKey(ProcedureType, on_delete=models.PROTECT, related_name="mappings")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["sender", "code"], name="code_means_one_exam_per_sender")
        ]

    def __str__(self) -> str:
        return f"{self.sender} {self.code} -> {self.procedure_type}"
