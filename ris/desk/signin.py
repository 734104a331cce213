"""Signing in and out, the second factor, the lock, the password (ux.md 2.1)."""

import time

import qrcode
import qrcode.image.svg
from axes.handlers.proxy import AxesProxyHandler
from django.conf import settings
from django.contrib.auth import authenticate, login, logout, update_session_auth_hash
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST
from django_otp import login as otp_login
from django_otp.plugins.otp_totp.models import TOTPDevice

from ris.accounts import actions
from ris.accounts.doors import UserRequest, needs, public
from ris.accounts.models import FormKey, Role, User
from ris.audit.models import AuditEvent
from ris.audit.trail import record_access
from ris.core.errors import BadValue
from ris.core.pages import is_htmx, see_other

#: A password given long ago must not be enough for a code found later.
_CODE_WITHIN = 600

HOMES = {
    Role.FRONTDESK: "/board",
    Role.TECHNOLOGIST: "/rooms",
    Role.RADIOLOGIST: "/reading",
    Role.RESIDENT: "/reading",
    Role.BILLER: "/billing/charges",
    Role.ADMINISTRATOR: "/interfaces",
    Role.MANAGER: "/board",
    Role.REFERRER: "/orders",
}


@needs("home.view")
def home(request: UserRequest) -> HttpResponse:
    """The list of the user's first role: no tile page (ux.md 2.2)."""
    return HttpResponseRedirect(next(HOMES[role] for role in HOMES if role in request.user.roles))


@public
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    if request.GET.get("switch"):
        logout(request)
    if request.method != "POST":
        return render(request, "accounts/sign_in.html", {"next": request.GET.get("next", "")})
    username = request.POST.get("username", "").strip()
    user = authenticate(request, username=username, password=request.POST.get("password", ""))
    if user is None:
        # A name nobody has may be a password typed in the wrong field: it is not written down.
        known = User.objects.filter(username=username).first()
        record_access(known, "sign_in", outcome=AuditEvent.Outcome.REFUSED)
        context = {"error": _wrong_password(request, username), "username": username, "next": _next(request)}
        return render(request, "accounts/sign_in.html", context, status=422)
    second = actions.has_second_factor(user)
    if second or settings.RIS_MFA_REQUIRED:
        request.session.cycle_key()
        request.session["pending"] = {"user": user.pk, "at": int(time.time()), "next": _next(request)}
        return HttpResponseRedirect("/login/code" if second else "/login/enrol")
    return _let_in(request, user, _next(request))


def _wrong_password(request: HttpRequest, username: str) -> str:
    if getattr(request, "axes_locked_out", False):
        return "Too many wrong passwords. Wait 5 minutes, then try again, or ask an administrator."
    tried = AxesProxyHandler.get_failures(request, {"username": username})
    left = max(settings.AXES_FAILURE_LIMIT - tried, 0)
    return f"User or password is wrong. {left} {'try' if left == 1 else 'tries'} left before a 5 minute wait."


def locked_out(
    request: HttpRequest, response: HttpResponse | None = None, credentials: object = None
) -> HttpResponse:
    """Axes' answer to a locked name: the page that was asked, which already says why."""
    response = response or HttpResponse()
    response.status_code = 429
    return response


def _next(request: HttpRequest) -> str:
    """Where the user wanted to go, if it is on this site."""
    url = request.POST.get("next", "")
    return url if url_has_allowed_host_and_scheme(url, {request.get_host()}, request.is_secure()) else "/"


def _let_in(request: HttpRequest, user: User, url: str, device: object = None) -> HttpResponse:
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    if device is not None:
        otp_login(request, device)
    request.session["began"] = request.session["active"] = int(time.time())
    FormKey.forget_old()
    record_access(user, "sign_in", second_factor=device is not None)
    return HttpResponseRedirect(url)


def _pending(request: HttpRequest) -> User | None:
    """Whose password was right, while the second factor is still owed."""
    pending = request.session.get("pending")
    if not pending or time.time() - pending["at"] > _CODE_WITHIN:
        return None
    return User.objects.filter(pk=pending["user"], is_active=True).first()


@public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def code(request: HttpRequest) -> HttpResponse:
    user = _pending(request)
    if user is None:
        return HttpResponseRedirect(settings.LOGIN_URL)
    if request.method != "POST":
        return render(request, "accounts/code.html")
    try:
        device = actions.check_code(user, request.POST.get("code", ""))
    except BadValue as problem:
        record_access(user, "second_factor", outcome=AuditEvent.Outcome.REFUSED)
        return render(request, "accounts/code.html", {"error": problem.message}, status=422)
    return _let_in(request, user, request.session["pending"]["next"], device)


@public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def enrol(request: HttpRequest) -> HttpResponse:
    """The first second factor: at sign-in where the site demands one, or from the user menu."""
    signed_in = request.user if isinstance(request.user, User) else None
    user = signed_in or _pending(request)
    # Whoever has a factor must show it before replacing it.
    if user is None or (actions.has_second_factor(user) and not (signed_in and signed_in.is_verified())):  # type: ignore[attr-defined]
        return HttpResponseRedirect(settings.LOGIN_URL)
    device = actions.unconfirmed_device(user)
    if request.method == "POST":
        try:
            codes = actions.confirm_device(device, request.POST.get("code", ""))
        except BadValue as problem:
            return _enrolment(request, device, problem.message)
        url = request.session.get("pending", {}).get("next", "/")
        record_access(user, "second_factor_enrolled")
        _let_in(request, user, url, device)
        return render(request, "accounts/recovery.html", {"codes": codes, "next": url})
    return _enrolment(request, device)


def _enrolment(request: HttpRequest, device: TOTPDevice, error: str = "") -> HttpResponse:
    picture = qrcode.make(device.config_url, image_factory=qrcode.image.svg.SvgPathImage, border=1)
    secret = actions.readable_secret(device)
    context = {"qr": mark_safe(picture.to_string(encoding="unicode")), "secret": secret, "error": error}
    return render(request, "accounts/enrol.html", context, status=422 if error else 200)


@public
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def lock(request: HttpRequest) -> HttpResponse:
    """Lock, not log out: the page in the browser stays as it was (ux.md 2.1)."""
    user = request.user
    if not isinstance(user, User):
        return HttpResponseRedirect(settings.LOGIN_URL)
    wanted = request.POST if request.method == "POST" else request.GET
    context: dict[str, object] = {"next": wanted.get("next", "")}
    if request.method == "POST" and "password" not in request.POST:
        request.session["locked"] = True
        return HttpResponse(status=204)
    if request.method == "POST":
        given = request.POST["password"]
        if authenticate(request, username=user.username, password=given) == user:
            request.session["locked"] = False
            request.session["active"] = int(time.time())
            record_access(user, "unlock")
            return (
                HttpResponse(status=204)
                if "next" not in request.POST
                else HttpResponseRedirect(_next(request))
            )
        record_access(user, "unlock", outcome=AuditEvent.Outcome.REFUSED)
        context["error"] = _wrong_password(request, user.username)
        if "next" not in request.POST:
            return HttpResponse(str(context["error"]), status=422, content_type="text/plain; charset=utf-8")
    return render(request, "accounts/lock.html", context, status=422 if "error" in context else 200)


@needs("home.view")
def stay(request: UserRequest) -> HttpResponse:
    """Somebody still sits here: what the warning before the lock asks for."""
    return HttpResponse(status=204)


@public
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    if isinstance(request.user, User):
        record_access(request.user, "sign_out")
    logout(request)
    return see_other(request, settings.LOGIN_URL)


@needs("home.view")
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def password(request: UserRequest) -> HttpResponse:
    if request.method != "POST":
        return render(request, "accounts/password.html")
    try:
        actions.change_password(
            request.user, old=request.POST.get("old", ""), new=request.POST.get("new", "")
        )
    except BadValue as problem:
        record_access(request.user, "password_change", outcome=AuditEvent.Outcome.REFUSED)
        context = {"problem": problem}
        return render(request, "accounts/password.html", context, status=422)
    # Other sessions of the user end; this one stays.
    update_session_auth_hash(request, request.user)
    record_access(request.user, "password_change")
    return see_other(request, "/", "Your password is changed. Other screens have to sign in again.")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _refused(request, 404, "No page has this address. It may have moved.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _refused(request, 403, "Your role does not open this page.")


def csrf_refused(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _refused(
        request, 403, "This form is too old or came from elsewhere. Go back, reload the page, send it again."
    )


def _refused(request: HttpRequest, status: int, message: str) -> HttpResponse:
    if is_htmx(request):
        return HttpResponse(message, status=status, content_type="text/plain; charset=utf-8")
    return render(request, "refused.html", {"message": message, "status": status}, status=status)
