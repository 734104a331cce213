"""Admin pages of protocols: the catalogue, and who has to look when."""

from django.core.paginator import Paginator
from django.db.models import Count, Model
from django.forms import ModelForm
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from ris.accounts.doors import UserRequest, needs
from ris.accounts.permissions import allowed, require
from ris.core.errors import BadValue, NotFound
from ris.core.pages import see_other
from ris.department.models import ProcedureType
from ris.department.sections import sections_for
from ris.protocolling import actions
from ris.protocolling.forms import BypassForm, ExamRuleForm, ProtocolForm
from ris.protocolling.models import Bypass, ExamRule, Protocol


@needs("department.view")
@require_safe
def catalogue(request: UserRequest) -> HttpResponse:
    rows = Protocol.objects.prefetch_related("exams").order_by("-active", "modality", "name")
    context = {
        "page": Paginator(rows, 60).get_page(request.GET.get("page")),
        "may_change": allowed(request.user, "department.change"),
        "sections": sections_for(request.user, request.path),
    }
    return render(request, "protocolling/catalogue.html", context)


@needs("department.view")
@require_http_methods(["GET", "HEAD", "POST"])
def protocol(request: UserRequest, pk: int | None = None) -> HttpResponse:
    """One protocol in its form."""
    found = Protocol.objects.filter(pk=pk).first() if pk else Protocol()
    if found is None:
        raise NotFound("There is no such protocol.")
    form = ProtocolForm(request.POST if request.method == "POST" else None, instance=found)
    if request.method == "POST":
        require(request.user, "department.change")
        if form.is_valid():
            try:
                actions.save_protocol(form.instance, form.cleaned_data["exams"], by=request.user)
            except BadValue as problem:
                form.add_error("exams", problem.message)
            else:
                return see_other(request, reverse("admin_protocols"), f"{found} is saved")
    return _form_page(request, form, str(found) if pk else "New protocol", found)


@needs("department.view")
@require_safe
def rules(request: UserRequest) -> HttpResponse:
    """Every exam that has protocols: whether somebody decides, and the default; below, when nobody has to look."""
    exams = (
        ProcedureType.objects.filter(active=True, protocols__active=True)
        .annotate(many=Count("protocols", distinct=True))
        .select_related("protocol_rule__default")
        .order_by("modality", "name")
    )
    context = {
        "exams": [(exam, getattr(exam, "protocol_rule", None)) for exam in exams],
        "bypasses": Bypass.objects.select_related("procedure_type"),
        "may_change": allowed(request.user, "department.change"),
        "sections": sections_for(request.user, request.path),
    }
    return render(request, "protocolling/rules.html", context)


@needs("department.view")
@require_http_methods(["GET", "HEAD", "POST"])
def exam_rule(request: UserRequest, pk: int) -> HttpResponse:
    """Whether somebody decides the protocol of an exam."""
    exam = ProcedureType.objects.filter(pk=pk).first()
    if exam is None:
        raise NotFound("There is no such exam.")
    found = ExamRule.objects.filter(procedure_type=exam).first() or ExamRule(procedure_type=exam)
    form = ExamRuleForm(request.POST if request.method == "POST" else None, instance=found)
    return _saved(request, form, f"Protocol of {exam}") or _form_page(
        request, form, f"Protocol of {exam}", found
    )


@needs("department.view")
@require_http_methods(["GET", "HEAD", "POST"])
def bypass(request: UserRequest, pk: int | None = None) -> HttpResponse:
    """One rule by which nobody has to look."""
    found = Bypass.objects.filter(pk=pk).first() if pk else Bypass()
    if found is None:
        raise NotFound("There is no such rule.")
    form = BypassForm(request.POST if request.method == "POST" else None, instance=found)
    return _saved(request, form, "The rule") or _form_page(request, form, "Nobody has to look", found)


def _saved(request: UserRequest, form: ExamRuleForm | BypassForm, what: str) -> HttpResponse | None:
    if request.method != "POST":
        return None
    require(request.user, "department.change")
    if not form.is_valid():
        return None
    actions.save_rule(form.instance, by=request.user)
    return see_other(request, reverse("protocol_rules"), f"{what} is saved")


def _form_page(
    request: UserRequest, form: ModelForm, heading: str, record: Model  # type: ignore[type-arg]
) -> HttpResponse:  # fmt: skip
    context = {
        "form": form, "record": record, "heading": heading, "action": request.path,
        "may_change": allowed(request.user, "department.change"),
    }  # fmt: skip
    return render(request, "department/record.html", context, status=422 if form.errors else 200)
