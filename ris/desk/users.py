"""Admin pages: who may sign in, with which roles, and the keys of programs."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.paginator import Paginator
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_otp.plugins.otp_totp.models import TOTPDevice

from ris.accounts.doors import UserRequest, needs
from ris.accounts.models import ApiToken, Role, User
from ris.core.errors import NotFound, RisError
from ris.core.pages import see_other
from ris.department.sections import sections_for
from ris.desk import user_actions as actions
from ris.events.models import Event

_PEOPLE = [(role.value, role.label) for role in Role if role != Role.SYSTEM]
_SHOWN = (("", "People"), ("systems", "Systems"), ("off", "Switched off"))


class UserForm(forms.Form):
    username = forms.CharField(
        label="User name",
        max_length=150,
        validators=[UnicodeUsernameValidator(message="A user name has letters, digits and @ . + - _ only.")],
        help_text="Stays for good; it is never given to somebody else",
        error_messages={"required": "Enter the user name."},
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none"}),
    )
    first_name = forms.CharField(label="Given name", max_length=150, required=False)
    last_name = forms.CharField(
        label="Family name", max_length=150, error_messages={"required": "Enter the family name."}
    )
    initials = forms.CharField(max_length=4, required=False, help_text="Shown to others on rows")
    email = forms.EmailField(
        required=False, error_messages={"invalid": "An address looks like name@example.org."}
    )
    roles = forms.MultipleChoiceField(
        choices=_PEOPLE,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Pick at least one role."},
    )

    @property
    def person(self) -> actions.Person:
        data = self.cleaned_data
        return actions.Person(
            data["first_name"], data["last_name"], data["roles"], data["initials"], data["email"]
        )


@require_safe
@needs("user.view")
def users(request: UserRequest) -> HttpResponse:
    shown, text = request.GET.get("show", ""), request.GET.get("q", "").strip()[:80]
    page = Paginator(_rows(shown, text), 60).get_page(request.GET.get("page"))
    context = {
        "page": page, "text": text, "shown": shown, "views": _SHOWN, "labels": dict(Role.choices), "may_change": True,
        "sections": sections_for(request.user, request.path),
    }  # fmt: skip
    return render(request, "desk/admin_users.html", context)


def _rows(shown: str, text: str) -> QuerySet[User]:
    rows = User.objects.filter(is_active=shown != "off")
    if shown != "off":
        system = Q(roles__contains=[Role.SYSTEM])
        rows = rows.filter(system if shown == "systems" else ~system)
    for word in text.split():
        rows = rows.filter(
            Q(username__icontains=word) | Q(first_name__icontains=word) | Q(last_name__icontains=word)
        )
    factor = TOTPDevice.objects.filter(user=OuterRef("pk"), confirmed=True)
    return rows.annotate(has_factor=Exists(factor)).order_by("last_name", "first_name", "username")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@needs("user.change")
def add(request: UserRequest) -> HttpResponse:
    """A new user from their roles; the password is shown once."""
    form = UserForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            user, password = actions.add_user(form.cleaned_data["username"], form.person, by=request.user)
        except RisError as problem:
            _say(form, problem)
        else:
            return _secret(request, user, "Password", password)
    context = {"form": form, "heading": "New user", "action": request.path}
    return render(request, "desk/admin_user_form.html", context, status=422 if form.errors else 200)


def _say(form: forms.Form, problem: RisError) -> None:
    form.add_error(problem.location if problem.location in form.fields else None, problem.message)


def _secret(request: UserRequest, user: User, what: str, secret: str) -> HttpResponse:
    context = {"heading": f"{what} of {user.username}", "what": what, "secret": secret, "who": user}
    return render(request, "desk/admin_secret.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@needs("user.change")
def user(request: UserRequest, pk: int) -> HttpResponse:
    """One user: names and roles, and what can be reset."""
    found = _found(pk)
    initial = {name: getattr(found, name) for name in UserForm.base_fields}
    data: Mapping[str, Any] | None = request.POST if request.method == "POST" else None
    form = UserForm(data, initial=initial)
    form.fields["username"].disabled = True
    if request.method == "POST" and form.is_valid():
        try:
            actions.change_user(found, form.person, by=request.user)
        except RisError as problem:
            _say(form, problem)
        else:
            return see_other(request, reverse("admin_user", args=[pk]), f"{found.username} is saved")
    context = {
        "form": form,
        "who": found,
        "labels": [Role(role).label for role in found.roles],
        "has_factor": TOTPDevice.objects.filter(user=found, confirmed=True).exists(),
        "tokens": ApiToken.objects.filter(user=found).order_by("-pk"),
        "history": Event.objects.filter(subject=f"user:{pk}").select_related("by").order_by("-pk")[:20],
        "sections": sections_for(request.user, request.path),
    }
    return render(request, "desk/admin_user.html", context, status=422 if form.errors else 200)


def _found(pk: int) -> User:
    found = User.objects.filter(pk=pk).first()
    if found is None:
        raise NotFound("There is no such user.")
    return found


@require_POST
@needs("user.change")
def switch(request: UserRequest, pk: int, on: bool) -> HttpResponse:
    found = _found(pk)
    (actions.switch_on if on else actions.switch_off)(found, by=request.user)
    back = reverse("admin_user_off" if on else "admin_user_on", args=[pk])
    word = "may sign in again" if on else "is switched off and signed out"
    return see_other(request, reverse("admin_user", args=[pk]), f"{found.username} {word}", undo=back)


@never_cache
@require_POST
@needs("user.change")
def password(request: UserRequest, pk: int) -> HttpResponse:
    found = _found(pk)
    return _secret(request, found, "Password", actions.reset_password(found, by=request.user))


@require_POST
@needs("user.change")
def second_factor(request: UserRequest, pk: int) -> HttpResponse:
    found = _found(pk)
    actions.reset_second_factor(found, by=request.user)
    return see_other(
        request, reverse("admin_user", args=[pk]), f"{found.username} sets up a new phone at the next sign-in"
    )


@never_cache
@require_POST
@needs("user.change")
def token(request: UserRequest, pk: int) -> HttpResponse:
    found = _found(pk)
    return _secret(request, found, "API token", actions.issue_token(found, by=request.user))


@require_POST
@needs("user.change")
def revoke(request: UserRequest, pk: int, token_pk: int) -> HttpResponse:
    known = ApiToken.objects.filter(pk=token_pk, user=pk).first()
    if known is None:
        raise NotFound("There is no such token.")
    actions.revoke_token(known, by=request.user)
    return see_other(request, reverse("admin_user", args=[pk]), "The token opens nothing any more")
