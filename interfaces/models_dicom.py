"""What modalities sent, as they sent it."""

from django.db import models

from ris.core.guards import append_only


class ReceivedDataset(models.Model):
    """The data set of one N-CREATE or N-SET, stored before it is understood; what became of it is in the audit."""

    append_only = True

    received_at = models.DateTimeField(auto_now_add=True)
    calling_ae_title = models.CharField(max_length=16)
    peer = models.CharField(max_length=64)
    #: N-CREATE or N-SET.
    operation = models.CharField(max_length=10)
    sop_class_uid = models.CharField(max_length=64)
    sop_instance_uid = models.CharField(max_length=64)
    transfer_syntax_uid = models.CharField(max_length=64)
    raw = models.BinaryField()

    class Meta:
        indexes = [
            # All that was ever said of one performed procedure step, in order.
            models.Index(fields=["sop_instance_uid", "id"], name="datasets_of_an_instance"),
        ]
        triggers = append_only()

    def __str__(self) -> str:
        return f"{self.operation} {self.sop_instance_uid}"

    @classmethod
    def keep(cls, **fields: object) -> "ReceivedDataset":
        return cls.objects.create(**fields)


class KeyImages(models.Model):
    """A Key Object Selection (PS3.3 C.17.6): which images somebody picked out of a study, and for what."""

    append_only = True

    dataset = models.OneToOneField(ReceivedDataset, on_delete=models.PROTECT, related_name="key_images")
    sop_instance_uid = models.CharField(max_length=64, unique=True)
    study_instance_uid = models.CharField(max_length=64)
    #: CID 7010.
    title_code = models.CharField(max_length=16)
    title = models.CharField(max_length=64)
    description = models.CharField(max_length=400, blank=True)
    #: [{"study": ..., "series": ..., "class": ..., "instance": ...}]
    images = models.JSONField(default=list)

    class Meta:
        indexes = [models.Index(fields=["study_instance_uid"], name="key_images_of_a_study")]
        triggers = append_only()

    def __str__(self) -> str:
        return f"{self.title} {self.sop_instance_uid}"

    @classmethod
    def keep(cls, **fields: object) -> "KeyImages":
        return cls.objects.create(**fields)
