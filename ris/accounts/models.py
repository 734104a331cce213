"""Who acts: people and systems, and the tokens with which programs act for them."""

import hashlib
import secrets
from datetime import timedelta
from typing import ClassVar
from uuid import UUID

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone


class Role(models.TextChoices):
    FRONTDESK = "frontdesk", "Front desk"
    TECHNOLOGIST = "technologist", "Technologist"
    RADIOLOGIST = "radiologist", "Radiologist"
    RESIDENT = "resident", "Resident"
    BILLER = "biller", "Biller"
    MANAGER = "manager", "Manager"
    ADMINISTRATOR = "administrator", "Administrator"
    REFERRER = "referrer", "Referrer"
    SYSTEM = "system", "System"


class User(AbstractUser):
    """A person, or a system such as the EMR's interface, that acts in the record; never deleted, never reused."""

    roles = ArrayField(models.CharField(max_length=20, choices=Role.choices), default=list, blank=True)
    #: Digital initials shown to others on holds and rows.
    initials = models.CharField(max_length=4, blank=True)

    # Django's own groups and permissions are not used: rights go by role (`ris.accounts.permissions`).
    groups = None  # type: ignore[assignment]
    user_permissions = None  # type: ignore[assignment]

    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(roles__contained_by=[role.value for role in Role]), name="user_roles_known"
            ),
        ]

    def __str__(self) -> str:
        return self.get_full_name() or self.username

    @property
    def short(self) -> str:
        """Initials for a crowded row."""
        letters = (self.first_name[:1] + self.last_name[:1]) or self.username[:2]
        return self.initials or letters.upper()

    @property
    def is_system(self) -> bool:
        return Role.SYSTEM in self.roles


def system_user(name: str) -> User:
    """The user under which a service ("hl7", "dicom", "relay") acts, so that the audit names it."""
    user, _ = User.objects.get_or_create(
        username=f"system.{name}",
        defaults={"roles": [Role.SYSTEM], "last_name": name.upper(), "password": "!"},
    )
    return user


class ApiToken(models.Model):
    """A program's key. Only its digest is kept; the token itself is shown once, when it is made."""

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="api_tokens")
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"token of {self.user}"

    @staticmethod
    def digest_of(token: str) -> str:
        return hashlib.sha256(token.encode()).hexdigest()


def create_token(user: User) -> str:
    """Make a token for `user`; what is returned is not stored anywhere."""
    token = secrets.token_urlsafe(32)
    ApiToken.objects.create(user=user, digest=ApiToken.digest_of(token))
    return token


class FormKey(models.Model):
    """A form sent once: its key, and where the answer led, so that a second click gets the same one."""

    key = models.UUIDField(unique=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField(auto_now_add=True)
    #: False while the first answer is not out; it stays so when the process died in between.
    answered = models.BooleanField(default=False)
    location = models.CharField(max_length=500, blank=True)

    def __str__(self) -> str:
        return str(self.key)

    @classmethod
    def take(cls, key: UUID, user: User) -> tuple["FormKey", bool]:
        """The row of `key`, and whether this is the first time it is seen."""
        return cls.objects.get_or_create(key=key, defaults={"user": user})

    def answer(self, location: str) -> None:
        self.answered = True
        self.location = location
        self.save(update_fields=["answered", "location"])

    def give_back(self) -> None:
        """The form was refused: corrected, it may be sent again."""
        self.delete()

    @classmethod
    def forget_old(cls) -> None:
        """Nobody sends a form again after a day."""
        cls.objects.filter(at__lt=timezone.now() - timedelta(days=1)).delete()
