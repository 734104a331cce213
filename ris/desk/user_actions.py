"""Changes to who may sign in and what for. Here and not in `ris.accounts`, which knows of no facts."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from axes.utils import reset
from django.db import IntegrityError, transaction
from django.utils import timezone
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from ris.accounts.models import ApiToken, Role, User, create_token
from ris.accounts.permissions import require
from ris.core.errors import BadValue, Conflict, Duplicate, MissingData
from ris.events.outbox import record


@dataclass(frozen=True)
class Person:
    """What an administrator says of somebody; the user name is given once and stays."""

    first_name: str
    last_name: str
    roles: Sequence[str]
    initials: str = ""
    email: str = ""


@transaction.atomic
def add_user(username: str, person: Person, *, by: User) -> tuple[User, str]:
    """Let somebody in; returns the password to tell them, which is not kept anywhere.

    Raises Duplicate for a taken user name, MissingData without a role.
    """
    require(by, "user.change")
    _check(person)
    if not username:
        raise MissingData("Enter the user name.", location="username")
    password = secrets.token_urlsafe(12)
    try:
        with transaction.atomic():
            user = User.objects.create_user(username, password=password, **_columns(person))
    except IntegrityError:
        raise Duplicate(f"The user name {username} is taken.", location="username") from None
    _tell("user.added", user, by=by, roles=sorted(person.roles))
    return user, password


@transaction.atomic
def change_user(user: User, person: Person, *, by: User) -> User:
    """Names and roles; they count from the next click on. The last administrator stays one."""
    user = _locked(user, by)
    _check(person)
    if Role.ADMINISTRATOR in user.roles and Role.ADMINISTRATOR not in person.roles:
        _keep_an_administrator(user)
    columns = _columns(person)
    changed = sorted(name for name, value in columns.items() if getattr(user, name) != value)
    for name in changed:
        setattr(user, name, columns[name])
    if changed:
        user.save(update_fields=changed)
        _tell("user.changed", user, by=by, changed=changed, roles=sorted(user.roles))
    return user


def _check(person: Person) -> None:
    if not person.last_name.strip():
        raise MissingData("Enter the family name.", location="last_name")
    if not person.roles:
        raise MissingData("Pick at least one role.", location="roles")
    if Role.SYSTEM in person.roles or not set(person.roles) <= set(Role.values):
        raise BadValue("A person cannot have this role.", location="roles")


def _columns(person: Person) -> dict[str, Any]:
    return {
        "first_name": person.first_name.strip(), "last_name": person.last_name.strip(),
        "roles": sorted(map(str, person.roles)), "initials": person.initials.strip().upper(), "email": person.email.strip(),
    }  # fmt: skip


def _locked(user: User, by: User) -> User:
    """The row of a person, held. Systems are what their endpoints make of them."""
    require(by, "user.change")
    user = User.objects.select_for_update().get(pk=user.pk)
    if user.is_system:
        raise Conflict("This user is a system; it belongs to its partner and nobody signs in as it.")
    return user


def _keep_an_administrator(user: User) -> None:
    others = User.objects.filter(is_active=True, roles__contains=[Role.ADMINISTRATOR]).exclude(pk=user.pk)
    if not others.exists():
        raise Conflict("This is the last administrator. Make somebody else one first.")


@transaction.atomic
def switch_off(user: User, *, by: User) -> User:
    """Sign the user out everywhere, keep them out, and stop their tokens. What they did keeps their name."""
    user = _locked(user, by)
    if user == by:
        raise Conflict("You cannot switch off yourself. Ask another administrator.")
    if Role.ADMINISTRATOR in user.roles:
        _keep_an_administrator(user)
    user.is_active = False
    user.save(update_fields=["is_active"])
    _tell("user.switched_off", user, by=by)
    return user


@transaction.atomic
def switch_on(user: User, *, by: User) -> User:
    user = _locked(user, by)
    user.is_active = True
    user.save(update_fields=["is_active"])
    _tell("user.switched_on", user, by=by)
    return user


@transaction.atomic
def reset_password(user: User, *, by: User) -> str:
    """A new password to tell the user; the old one and every open session end, a lock-out too."""
    user = _locked(user, by)
    password = secrets.token_urlsafe(12)
    user.set_password(password)
    user.save(update_fields=["password"])
    reset(username=user.username)
    _tell("user.password_reset", user, by=by)
    return password


@transaction.atomic
def reset_second_factor(user: User, *, by: User) -> None:
    """The phone is lost: the next sign-in sets up a new one."""
    user = _locked(user, by)
    TOTPDevice.objects.filter(user=user).delete()
    StaticDevice.objects.filter(user=user).delete()
    _tell("user.second_factor_reset", user, by=by)


@transaction.atomic
def issue_token(user: User, *, by: User) -> str:
    """A key for a program that acts as `user`; returned once, kept as a digest."""
    require(by, "user.change")
    if not user.is_active:
        raise Conflict("This user is switched off; a token would open nothing.")
    token = create_token(user)
    _tell("user.token_issued", user, by=by)
    return token


@transaction.atomic
def revoke_token(token: ApiToken, *, by: User) -> ApiToken:
    """The token opens nothing from now on."""
    require(by, "user.change")
    token = ApiToken.objects.select_for_update(of=("self",)).select_related("user").get(pk=token.pk)
    if token.revoked_at is None:
        token.revoked_at = timezone.now()
        token.save(update_fields=["revoked_at"])
        _tell("user.token_revoked", token.user, by=by, token=token.pk)
    return token


def _tell(kind: str, user: User, *, by: User, **facts: Any) -> None:
    record(kind, f"user:{user.pk}", by=by, user=user.pk, **facts)
