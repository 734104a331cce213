"""Admin pages: the questionnaires by edition, and the rules with the site's figures."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ris.accounts.doors import UserRequest, needs
from ris.core.errors import BadValue, Conflict, NotFound
from ris.core.pages import see_other
from ris.department.sections import sections_for
from ris.safety import actions, asking, forms, worklists
from ris.safety.access import questionnaire_for
from ris.safety.models import Questionnaire, RuleSetting
from ris.safety.rules import RULES, site_rules
from ris.safety.states import QuestionnaireStatus


@needs("safety.change")
@require_safe
def questionnaires(request: UserRequest) -> HttpResponse:
    context = {"editions": worklists.editions(), "sections": sections_for(request.user, request.path)}
    return render(request, "safety/questionnaires.html", context)


@needs("safety.change")
@require_http_methods(["GET", "HEAD", "POST"])
def questionnaire(request: UserRequest, pk: int) -> HttpResponse:
    """One edition: a draft in its form, a published one to read, either with what the edition before said."""
    found = questionnaire_for(request.user, pk)
    draft = found.status == QuestionnaireStatus.DRAFT
    sent = request.POST if request.method == "POST" else None
    form = questions = None
    status = 200
    if draft:
        form = forms.EditionForm(
            sent, initial={name: getattr(found, name) for name in forms.EditionForm.base_fields}
        )
        questions = forms.question_forms(found, sent)
        if sent is not None and _saved(request, found, form, questions):
            return see_other(request, reverse("questionnaire", args=[found.pk]), "The draft is saved.")
        status = 200 if sent is None else 422
    elif sent is not None:
        raise Conflict("This edition is published and stays as it is. Copy it as a draft.")
    others = list(Questionnaire.objects.filter(code=found.code).exclude(pk=found.pk).order_by("-edition"))
    before = next((one for one in others if one.edition < found.edition and one.published_at), None)
    context = {
        "questionnaire": found, "form": form, "questions": questions, "editions": others, "before": before,
        "differences": worklists.differences(before.questions, found.questions) if before else [],
        "answers": [(one, asking.values_of(one)) for one in found.questions],
        "sections": sections_for(request.user, request.path),
    }  # fmt: skip
    return render(request, "safety/questionnaire.html", context, status=status)


def _saved(request: UserRequest, draft: Questionnaire, form: forms.EditionForm, questions: Any) -> bool:
    if not (form.is_valid() & questions.is_valid()):
        return False
    data = form.cleaned_data
    edition = actions.Edition(
        draft.code, data["title"], tuple(data["modalities"]), forms.questions_in(questions), data["intro"],
        data["contrast"], data["childbearing"], data["valid_days"],
    )  # fmt: skip
    try:
        actions.change_draft(draft, edition, version=data["version"], by=request.user)
    except (BadValue, Conflict) as problem:
        form.add_error(None, problem.message)
        return False
    return True


@needs("safety.change")
@require_POST
def copy(request: UserRequest, pk: int) -> HttpResponse:
    made = actions.copy_as_draft(questionnaire_for(request.user, pk), by=request.user)
    return see_other(request, reverse("questionnaire", args=[made.pk]), f"Edition {made.edition} is a draft.")


@needs("safety.change")
@require_POST
def publish(request: UserRequest, pk: int) -> HttpResponse:
    made = actions.publish_questionnaire(questionnaire_for(request.user, pk), by=request.user)
    return see_other(request, reverse("questionnaires"), f"{made} is asked from now on.")


@needs("safety.change")
@require_POST
def discard(request: UserRequest, pk: int) -> HttpResponse:
    made = actions.discard_draft(questionnaire_for(request.user, pk), by=request.user)
    return see_other(request, reverse("questionnaires"), f"{made} is discarded.")


@needs("safety.change")
@require_safe
def rules(request: UserRequest) -> HttpResponse:
    changed = {one.code: one for one in RuleSetting.objects.select_related("changed_by")}
    rows = [(rule, changed.get(code)) for code, rule in site_rules().items()]
    context = {"rows": rows, "sections": sections_for(request.user, request.path)}
    return render(request, "safety/rules.html", context)


@needs("safety.change")
@require_http_methods(["GET", "HEAD", "POST"])
def rule(request: UserRequest, code: str) -> HttpResponse:
    if code not in RULES:
        raise NotFound("There is no such rule.")
    known = site_rules()[code]
    form = forms.RuleForm(request.POST if request.method == "POST" else None, rule=known)
    if request.method == "POST" and form.is_valid():
        values: dict[str, Any] = {
            "active": known.active, "valid_days": known.valid_days, "limit": known.limit, "age_from": known.age_from,
            "age_to": known.age_to, "modalities": sorted(known.modalities), "except_parts": list(known.except_parts),
        } | form.cleaned_data  # fmt: skip
        try:
            actions.set_rule(code, values, by=request.user)
        except BadValue as problem:
            form.add_error(problem.location or None, problem.message)
        else:
            return see_other(request, reverse("safety_rules"), "The rule is saved and applies at once.")
    context = {"form": form, "rule": known, "heading": known.words, "action": request.path}
    return render(request, "safety/rule.html", context, status=422 if form.errors else 200)
