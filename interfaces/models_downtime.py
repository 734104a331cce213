"""Which writes of a DICOM message have been made, so that one that is repeated after a failure makes none twice."""

from django.db import models


class WriteDone(models.Model):
    """The `place`th write of a message; inserted in the transaction of the write itself, let go after a week."""

    message = models.UUIDField()
    place = models.PositiveSmallIntegerField()
    done_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["message", "place"], name="a_write_is_made_once"),
        ]
        indexes = [models.Index(fields=["done_at"], name="writes_by_time")]

    def __str__(self) -> str:
        return f"{self.message} {self.place}"
