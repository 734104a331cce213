"""What is typed of a patient's safety. Forms check shape; the verbs decide."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from django import forms

from ris.core.formats import clock, day, local, parse_day, today
from ris.department.models import Modality
from ris.orders.models import Order
from ris.patients.models import Patient
from ris.safety import asking
from ris.safety.models import (
    AnswerSet,
    Contrast,
    Implant,
    MrCondition,
    PatientFact,
    Question,
    Questionnaire,
    Reaction,
    RenalValue,
    SaidBy,
    Stage,
    Statement,
)
from ris.safety.passport import Screen, age_on
from ris.safety.reading import egfr_of
from ris.safety.rules import Rule

# ---- answers


@dataclass
class Row:
    """One question on the page, with what earlier stages were told."""

    question: Question
    place: str
    value: str
    note: str
    values: list[tuple[str, str]]
    #: (who and when, the answer in words).
    earlier: list[tuple[str, str]] = field(default_factory=list)
    error: str = ""

    @property
    def matters(self) -> set[str]:
        return {*self.question.get("matters", []), "unknown"}


@dataclass
class Section:
    screen: Screen
    rows: list[Row]

    @property
    def prefilled(self) -> bool:
        return any(row.earlier for row in self.rows)

    @property
    def alarming(self) -> list[Row]:
        return [row for row in self.rows if row.value in row.matters]


def sections_of(
    order: Order, screens: tuple[Screen, ...], sent: Mapping[str, str] | None = None
) -> list[Section]:
    """The page of questions: what was sent, else what was last said on this visit or an earlier one."""
    sections = []
    for screen in screens:
        questions = asking.questions_for(screen.questionnaire, order, today())
        sections.append(Section(screen, [_row(screen, question, sent) for question in questions]))
    return sections


def _row(screen: Screen, question: Question, sent: Mapping[str, str] | None) -> Row:
    place = f"{screen.questionnaire.pk}-{question['code']}"
    values = asking.values_of(question)
    told = sorted(screen.sets.values(), key=lambda one: (one.entered_at, one.pk))
    given = [(one, one.answers[question["code"]]) for one in told if question["code"] in one.answers]
    if sent is None:
        last = given[-1][1] if given else {}
        value, note = last.get("value", ""), last.get("note", "")
    else:
        value, note = sent.get(f"a-{place}", ""), sent.get(f"n-{place}", "")
    return Row(
        question, place, value, note, values, [(_who(one), _words(values, said)) for one, said in given]
    )


def _who(answers: AnswerSet) -> str:
    same = local(answers.entered_at).date() == today()
    when = clock(answers.entered_at) if same else day(answers.entered_at)
    if answers.stage == Stage.INTERVIEW:
        return f"Reviewed {when} by {answers.entered_by}"
    return f"{answers.get_said_by_display()}, {when}"


def _words(values: list[tuple[str, str]], said: Mapping[str, str]) -> str:
    value = dict(values).get(said["value"], said["value"])
    return " · ".join(filter(None, (value, said.get("note", ""))))


def answers_in(sent: Mapping[str, str], sections: list[Section]) -> dict[int, dict[str, dict[str, str]]]:
    """{questionnaire: {question: {"value", "note"}}} of what was sent."""
    return {
        section.screen.questionnaire.pk: {
            row.question["code"]: {
                "value": sent.get(f"a-{row.place}", ""),
                "note": sent.get(f"n-{row.place}", ""),
            }
            for row in section.rows
        }
        for section in sections
    }


class SignForm(forms.Form):
    """Who spoke, and that it was gone through together."""

    said_by = forms.ChoiceField(
        label="Who answers", choices=[(one.value, one.label) for one in SaidBy if one != SaidBy.REQUESTER],
        initial=SaidBy.PATIENT, widget=forms.RadioSelect,
    )  # fmt: skip
    reviewed = forms.BooleanField(label="Reviewed with patient", required=False)


# ---- facts


class FactForm(forms.Form):
    """Common to all that lasts: where it is known from."""

    source = forms.ChoiceField(
        label="Known from",
        choices=[("patient", "Patient"), ("relative", "Relative"), ("requester", "Requester"), ("card", "Device card"),
                 ("record", "Other record"), ("lab", "Laboratory")],
        initial="patient",
    )  # fmt: skip
    heading = ""

    @property
    def fact(self) -> PatientFact:
        raise NotImplementedError


def _day_part(text: str) -> str:
    """A day as far as it is known: 2019, 03-2019, 14-Mar-2019; "" when it is none."""
    parts = text.split("-")
    if len(text) == 4 and text.isdecimal():
        return text
    if len(parts) == 2 and all(part.isdecimal() for part in parts):
        month, year = sorted(parts, key=len)
        return f"{year}-{int(month):02d}" if len(year) == 4 and 1 <= int(month) <= 12 else ""
    found = parse_day(text)
    return found.isoformat() if found else ""


class _PartialDate(forms.CharField):
    def clean(self, value: Any) -> str:
        text = str(super().clean(value)).strip()
        known = _day_part(text) if text else ""
        if text and (not known or known > today().isoformat()):
            raise forms.ValidationError("Write a day that has been, for example 14-Mar-2019 or only 2019.")
        return known


class ImplantForm(FactForm):
    heading = "Implant or device"
    name = forms.CharField(label="What it is", max_length=80, error_messages={"required": "Say what it is."})
    maker = forms.CharField(max_length=60, required=False)
    model = forms.CharField(max_length=60, required=False)
    mr = forms.ChoiceField(
        label="In MR", choices=MrCondition, initial=MrCondition.UNKNOWN, widget=forms.RadioSelect
    )
    max_tesla = forms.DecimalField(
        label="Strongest field allowed, tesla", max_digits=3, decimal_places=1, min_value=Decimal("0.1"), required=False
    )  # fmt: skip
    conditions = forms.CharField(
        max_length=400, required=False, widget=forms.Textarea(attrs={"rows": 2}),
        help_text="As its maker writes: SAR, mode, programming, waiting time.",
    )  # fmt: skip
    body_site = forms.CharField(label="Where in the body", max_length=40, required=False)
    side = forms.ChoiceField(
        choices=[("", "No side"), ("L", "Left"), ("R", "Right"), ("B", "Both")], required=False
    )
    implanted_on = _PartialDate(
        label="Since", max_length=20, required=False, help_text="A day, or only the year."
    )

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if data.get("mr") == MrCondition.CONDITIONAL and not (
            data.get("max_tesla") or data.get("conditions")
        ):
            self.add_error("conditions", "Write the conditions, or at least the strongest field.")
        return data

    @property
    def fact(self) -> Implant:
        return Implant(**self.cleaned_data)


class ReactionForm(FactForm):
    heading = "Reaction"
    kind = forms.ChoiceField(
        label="To", choices=Reaction._meta.get_field("kind").choices or [], widget=forms.RadioSelect, initial="iodine"
    )  # fmt: skip
    agent = forms.CharField(label="Which, if known", max_length=80, required=False)
    severity = forms.ChoiceField(
        choices=Reaction._meta.get_field("severity").choices or [], widget=forms.RadioSelect,
        error_messages={"required": "Pick how bad it was."},
    )  # fmt: skip
    description = forms.CharField(label="What happened", max_length=200, required=False)
    happened_on = _PartialDate(
        label="When", max_length=20, required=False, help_text="A day, or only the year."
    )
    premedication = forms.CharField(label="To be given before", max_length=200, required=False)

    @property
    def fact(self) -> Reaction:
        return Reaction(**self.cleaned_data)


class RenalForm(FactForm):
    heading = "Kidney function"
    egfr = forms.DecimalField(label="eGFR, mL/min/1.73 m²", min_value=1, max_value=250, max_digits=4, decimal_places=1,
                              required=False)  # fmt: skip
    creatinine = forms.DecimalField(min_value=Decimal("0.1"), max_value=2000, required=False,
                                    help_text="Without an eGFR it is worked out from this.")  # fmt: skip
    unit = forms.ChoiceField(
        label="Unit of the creatinine", choices=[("mg", "mg/dL"), ("umol", "µmol/L")], initial="mg"
    )
    measured = forms.CharField(
        label="Measured on", initial="t", widget=forms.TextInput(attrs={"data-date": ""})
    )

    def __init__(self, *args: Any, patient: Patient, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.patient = patient
        self.fields["source"].initial = "lab"

    def clean_measured(self) -> date:
        found = parse_day(self.cleaned_data["measured"])
        if found is None or found > today():
            raise forms.ValidationError("Write a day that has been, for example 19-Nov-2026 or -3d.")
        return found

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        creatinine = data.get("creatinine")
        if creatinine and data.get("unit") == "umol":
            creatinine = creatinine / Decimal("88.42")
        data["creatinine"] = creatinine.quantize(Decimal("0.01")) if creatinine and creatinine < 100 else None
        data["calculated"] = False
        if not data.get("egfr") and not self.errors:
            age = age_on(today(), self.patient.birth_date)
            worked_out = egfr_of(creatinine, age, self.patient.sex) if creatinine else None
            if worked_out is None:
                what = "Enter the eGFR, or a creatinine." if not creatinine else (
                    "From this patient's creatinine no eGFR can be worked out. Enter the eGFR.")  # fmt: skip
                self.add_error("egfr", what)
            data["egfr"], data["calculated"] = worked_out, True
        return data

    @property
    def fact(self) -> RenalValue:
        data = self.cleaned_data
        return RenalValue(
            egfr=data["egfr"].quantize(Decimal(1)), creatinine=data["creatinine"], calculated=data["calculated"],
            measured_on=data["measured"], source=data["source"],
        )  # fmt: skip


#: The answers of each kind of statement; weight is typed.
_VALUES: dict[str, list[tuple[str, str]]] = {
    "pregnancy": [
        ("not", "Not pregnant"), ("possible", "May be pregnant"), ("definite", "Pregnant"), ("unknown", "Not known"),
    ],
    "implants": [("none", "None")],
}  # fmt: skip
_YES_NO = [("yes", "Yes"), ("no", "No"), ("unknown", "Not sure")]


class StatementForm(FactForm):
    def __init__(self, *args: Any, kind: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kind = kind
        self.heading = Statement.Kind(kind).label
        if kind == Statement.Kind.WEIGHT:
            value: forms.Field = forms.DecimalField(
                label="Kilograms", min_value=1, max_value=400, max_digits=4, decimal_places=1
            )
        else:
            value = forms.ChoiceField(
                label=self.heading, choices=_VALUES.get(kind, _YES_NO), widget=forms.RadioSelect,
                error_messages={"required": "Pick an answer."},
            )  # fmt: skip
        self.fields = {
            "value": value,
            "detail": forms.CharField(label="More", max_length=200, required=False),
            "source": self.fields["source"],
        }

    @property
    def fact(self) -> Statement:
        return Statement(kind=self.kind, **{**self.cleaned_data, "value": str(self.cleaned_data["value"])})


def fact_form(what: str, patient: Patient, sent: Any = None) -> FactForm | None:
    """The form for one more fact; None when there is no such kind."""
    if what == "implant":
        return ImplantForm(sent)
    if what == "reaction":
        return ReactionForm(sent)
    if what == "renal":
        return RenalForm(sent, patient=patient)
    return StatementForm(sent, kind=what) if what in Statement.Kind.values else None


class WithdrawForm(forms.Form):
    reason = forms.CharField(
        label="Why", max_length=200, help_text="Typed for the wrong patient, a device that was taken out.",
        error_messages={"required": "Say why this entry is withdrawn."},
    )  # fmt: skip


class ClearForm(forms.Form):
    reason = forms.CharField(
        label="On what grounds", max_length=300, widget=forms.Textarea(attrs={"rows": 3, "autofocus": ""}),
        error_messages={"required": "Say on what grounds."},
    )  # fmt: skip


# ---- questionnaires and rules

_MODALITIES = [(one.value, "XR" if one == Modality.XR else one.value) for one in Modality]


class EditionForm(forms.Form):
    title = forms.CharField(max_length=80, error_messages={"required": "Enter the title."})
    intro = forms.CharField(max_length=300, required=False, widget=forms.Textarea(attrs={"rows": 2}))
    modalities = forms.MultipleChoiceField(
        label="For exams of", choices=_MODALITIES, widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Pick the exams it is for."},
    )  # fmt: skip
    contrast = forms.ChoiceField(choices=Contrast, widget=forms.RadioSelect, initial=Contrast.ANY)
    childbearing = forms.BooleanField(label="Only for those who may be pregnant", required=False)
    valid_days = forms.IntegerField(
        label="A review holds for, days", min_value=0, max_value=365, initial=0, help_text="0: its own day."
    )
    version = forms.IntegerField(widget=forms.HiddenInput)


class QuestionForm(forms.Form):
    position = forms.IntegerField(min_value=1, max_value=99, label="Place")
    code = forms.CharField(max_length=30)
    text = forms.CharField(label="Question", max_length=200, widget=forms.Textarea(attrs={"rows": 2}))
    help = forms.CharField(label="Explained", max_length=200, required=False)
    kind = forms.ChoiceField(choices=list(asking.KINDS.items()), initial="yesno")
    choices = forms.CharField(
        required=False, max_length=500, help_text="value = words, one a line", widget=forms.Textarea(attrs={"rows": 2})
    )  # fmt: skip
    matters = forms.CharField(
        label="Answers that matter", required=False, max_length=100, help_text="yes, no or values"
    )
    effect = forms.ChoiceField(choices=list(asking.EFFECTS.items()), required=False)
    sentence = forms.CharField(label="What to do then", required=False, max_length=200)
    follow_up = forms.CharField(label="Asked further", required=False, max_length=120)
    states = forms.ChoiceField(
        choices=[("", "Nothing"), *Statement.Kind.choices], required=False, label="Notes as"
    )
    childbearing = forms.BooleanField(label="Only those who may be pregnant", required=False)
    asked_as = forms.CharField(
        label="In orders as", required=False, max_length=200, help_text="codes and words of OBX-3"
    )

    @staticmethod
    def initial_of(question: Question, position: int) -> dict[str, Any]:
        shown = dict(question)
        return {
            **shown, "position": position, "matters": ", ".join(question.get("matters", [])),
            "asked_as": ", ".join(question.get("asked_as", [])),
            "choices": "\n".join(f"{one[0]} = {one[1]}" for one in question.get("choices", [])),
        }  # fmt: skip

    @property
    def question(self) -> Question:
        data = self.cleaned_data
        made: dict[str, Any] = {
            "code": data["code"].strip(),
            "text": data["text"].strip(),
            "kind": data["kind"],
        }
        for name in ("help", "effect", "sentence", "follow_up", "states", "childbearing"):
            if data[name]:
                made[name] = data[name]
        for name in ("matters", "asked_as"):
            if values := [part.strip() for part in data[name].split(",") if part.strip()]:
                made[name] = values
        if pairs := [line.partition("=") for line in data["choices"].splitlines() if "=" in line]:
            made["choices"] = [[value.strip(), words.strip()] for value, _, words in pairs]
        return made  # type: ignore[return-value]


QuestionForms = forms.formset_factory(QuestionForm, extra=2, can_delete=True, max_num=60)


def question_forms(draft: Questionnaire, sent: Any = None) -> Any:
    questions: list[Question] = draft.questions
    initial = [QuestionForm.initial_of(one, place) for place, one in enumerate(questions, start=1)]
    return QuestionForms(sent, initial=initial, prefix="q")


def questions_in(formset: Any) -> tuple[Question, ...]:
    kept = [
        form
        for form in formset.forms
        if form.cleaned_data.get("text") and not form.cleaned_data.get("DELETE")
    ]
    return tuple(form.question for form in sorted(kept, key=lambda form: form.cleaned_data["position"]))


class RuleForm(forms.Form):
    active = forms.BooleanField(label="In force", required=False)
    valid_days = forms.IntegerField(
        label="What was said or measured stands for, days", min_value=0, max_value=3650, required=False,
        help_text="0: its own day. Empty: until it is changed.",
    )  # fmt: skip
    limit = forms.DecimalField(max_digits=6, decimal_places=1, min_value=0, required=False)
    age_from = forms.IntegerField(label="From age", min_value=0, max_value=120, required=False)
    age_to = forms.IntegerField(label="To age", min_value=0, max_value=120, required=False)
    modalities = forms.MultipleChoiceField(
        label="Exams of", choices=_MODALITIES, widget=forms.CheckboxSelectMultiple, required=False
    )
    except_parts = forms.CharField(
        label="Except body parts that begin with", required=False, max_length=1000,
        widget=forms.Textarea(attrs={"rows": 3}), help_text="Separated by commas",
    )  # fmt: skip

    def __init__(self, sent: Any = None, *, rule: Rule) -> None:
        super().__init__(
            sent,
            initial={
                "active": rule.active, "valid_days": rule.valid_days, "limit": rule.limit, "age_from": rule.age_from,
                "age_to": rule.age_to, "modalities": sorted(rule.modalities), "except_parts": ", ".join(rule.except_parts),
            },
        )  # fmt: skip
        # A rule shows what it goes by, and no more.
        for name in ("limit", "age_from", "age_to", "modalities", "except_parts", "valid_days"):
            if not getattr(rule, name) and getattr(rule, name) != 0:
                del self.fields[name]

    def clean_except_parts(self) -> list[str]:
        return [part.strip().lower() for part in self.cleaned_data["except_parts"].split(",") if part.strip()]
