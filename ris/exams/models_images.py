"""What the archive holds of a study, as it was last told or asked."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from ris.core.guards import never_deleted
from ris.orders.models import RequestedProcedure


class ImageSource(models.TextChoices):
    IAN = "ian", "Archive's notice"  # Instance Availability Notification, RAD-49
    QIDO = "qido", "QIDO-RS"
    CFIND = "cfind", "C-FIND"
    MPPS = "mpps", "Modality"  # no archive could be asked: what the modality said it sent


class Availability(models.TextChoices):
    """Instance Availability (0008,0056), best first."""

    ONLINE = "ONLINE", "online"
    NEARLINE = "NEARLINE", "nearline"
    OFFLINE = "OFFLINE", "offline"
    UNAVAILABLE = "UNAVAILABLE", "not available"


class StudyImages(models.Model):
    """One study in the archive. Without a procedure it waits for a person to say whose it is."""

    study_instance_uid = models.CharField(max_length=64, unique=True)
    #: Whose images they are; empty when no order is known for them.
    procedure = models.ForeignKey(
        RequestedProcedure, on_delete=models.PROTECT, null=True, blank=True, related_name="images"
    )
    source = models.CharField(max_length=10, choices=ImageSource)
    #: The worst of its instances.
    availability = models.CharField(max_length=16, choices=Availability, default=Availability.ONLINE)
    series_count = models.PositiveIntegerField(default=0)
    instance_count = models.PositiveIntegerField(default=0)
    #: {Series Instance UID: {"count": n, "availability": "ONLINE", "instances": [SOP Instance UID, ...]}};
    #: a source that tells no instances leaves their list out.
    series = models.JSONField(default=dict, blank=True)
    #: Instances the modality named and the archive did not; None while one of the two has named none.
    missing = models.PositiveIntegerField(null=True, blank=True)
    retrieve_ae_title = models.CharField(max_length=16, blank=True)
    #: As the archive knows them, for finding the order by hand.
    accession_number = models.CharField(max_length=64, blank=True)
    patient_id = models.CharField(max_length=64, blank=True)
    patient_name = models.CharField(max_length=200, blank=True)
    modality = models.CharField(max_length=16, blank=True)
    #: Why a person has to look; blank when it belongs to a procedure or was set aside.
    problem = models.CharField(max_length=200, blank=True)
    first_seen_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(source__in=ImageSource.values), name="image_source_known"),
            models.CheckConstraint(
                condition=Q(availability__in=Availability.values), name="image_availability_known"
            ),
        ]
        indexes = [
            # The reconciliation list.
            models.Index(fields=["first_seen_at"], condition=~Q(problem=""), name="studies_to_reconcile"),
        ]
        triggers = [never_deleted()]

    def __str__(self) -> str:
        return self.study_instance_uid

    @property
    def instances(self) -> set[str]:
        return {uid for one in self.series.values() for uid in one.get("instances", [])}
