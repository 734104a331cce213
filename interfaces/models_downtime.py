"""Which writes of a DICOM message have been made, so that one that is repeated after a failure makes none twice."""

from datetime import timedelta
from uuid import UUID

from django.db import connection, models
from django.utils import timezone

_KEPT = timedelta(days=7)


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

    @classmethod
    def mark(cls, message: UUID, place: int) -> bool:
        """Whether it was not made before. Waits for one that is being made."""
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {cls._meta.db_table} (message, place, done_at) VALUES (%s, %s, now())"
                " ON CONFLICT DO NOTHING",
                [message, place],
            )
            return bool(cursor.rowcount)

    @classmethod
    def let_go(cls) -> None:
        cls.objects.filter(done_at__lt=timezone.now() - _KEPT).delete()
