"""What a person proves to be themselves with: password, one-time codes from an app, recovery codes."""

import base64
import math

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from ris.accounts.models import User
from ris.core.errors import BadValue

RECOVERY_CODES = 10


def has_second_factor(user: User) -> bool:
    return bool(TOTPDevice.objects.filter(user=user, confirmed=True).exists())


def unconfirmed_device(user: User) -> TOTPDevice:
    """The app's key while it waits for its first code; a reload keeps the picture."""
    device, _ = TOTPDevice.objects.get_or_create(user=user, confirmed=False, defaults={"name": "app"})
    return device


def readable_secret(device: TOTPDevice) -> str:
    """The key for an app that cannot see the picture, in groups of four."""
    secret = base64.b32encode(device.bin_key).decode().rstrip("=")
    return " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))


@transaction.atomic
def confirm_device(device: TOTPDevice, code: str) -> list[str]:
    """Put `device` to use after its first right code, in the place of older ones; the new recovery codes.

    Raises BadValue for a wrong code.
    """
    if not device.verify_token(code.replace(" ", "")):
        raise BadValue(_WRONG_CODE, location="code")
    device.confirmed = True
    device.save()
    TOTPDevice.objects.filter(user=device.user, confirmed=True).exclude(pk=device.pk).delete()
    StaticDevice.objects.filter(user=device.user).delete()
    recovery = StaticDevice.objects.create(user=device.user, name="recovery")
    codes = [StaticToken.random_token() for _ in range(RECOVERY_CODES)]
    recovery.token_set.bulk_create([StaticToken(device=recovery, token=code) for code in codes])
    return codes


def check_code(user: User, code: str) -> TOTPDevice | StaticDevice:
    """The device this code belongs to: six digits are the app's, all else is a recovery code.

    Raises BadValue when it is wrong or when too many were. The wrong try stays counted: no transaction here.
    """
    code = code.replace(" ", "").lower()
    kind = TOTPDevice if code.isdecimal() and len(code) == 6 else StaticDevice
    device = kind.objects.filter(user=user, confirmed=True).first()
    if device is not None:
        allowed, why = device.verify_is_allowed()
        if not allowed:
            wait = math.ceil((why["locked_until"] - timezone.now()).total_seconds())
            raise BadValue(
                f"Too many wrong codes. Wait {max(wait, 1)} s, then use the newest one.", location="code"
            )
        if device.verify_token(code):
            return device
    raise BadValue(_WRONG_CODE, location="code")


_WRONG_CODE = "That code is wrong or has expired. Use the newest one in your app."


def change_password(user: User, *, old: str, new: str) -> None:
    """Raises BadValue when `old` is not the password, or `new` is too short or too common."""
    if not user.check_password(old):
        raise BadValue("This is not your password now.", location="old")
    try:
        validate_password(new, user)
    except ValidationError as problem:
        raise BadValue(" ".join(problem.messages), location="new") from None
    user.set_password(new)
    user.save(update_fields=["password"])
