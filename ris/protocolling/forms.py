"""What is picked or typed about protocols and their rules."""

from typing import Any

from django import forms
from django.contrib.postgres.forms import SimpleArrayField

from ris.department.forms import RecordForm
from ris.department.models import ProcedureType
from ris.protocolling.models import Bypass, ExamRule, Protocol

RETURN_REASONS = [
    "Not justified by the question",
    "Another exam answers it better",
    "Done lately",
    "Contrast is not safe for this patient",
    "Question is missing",
]
ASK_REASONS = [
    "What is the question?",
    "Which side?",
    "A recent eGFR, please",
    "Earlier reaction: which agent?",
    "Images from elsewhere?",
]


class ProtocolForm(RecordForm):
    exams = forms.ModelMultipleChoiceField(
        ProcedureType.objects.filter(active=True),
        label="Exams it suits",
        widget=forms.SelectMultiple(attrs={"size": 8}),
    )
    indications = SimpleArrayField(
        forms.CharField(max_length=40),
        delimiter="\n",
        required=False,
        label="Words that speak for it",
        help_text="As requests say them, one a line",
        widget=forms.Textarea(attrs={"rows": 3}),
    )

    class Meta:
        model = Protocol
        fields = [
            "code", "scheme", "name", "modality", "exams", "series", "contrast_agent", "contrast_ml", "contrast_ml_per_kg",
            "contrast_max_ml", "rate_ml_s", "premedication", "preparation", "indications", "from_age", "below_age",
            "least_egfr", "active",
        ]  # fmt: skip
        labels = {
            "scheme": "Coding scheme", "series": "Series or phases", "contrast_agent": "Contrast agent",
            "contrast_ml": "Volume, mL", "contrast_ml_per_kg": "Or mL a kg", "contrast_max_ml": "At most, mL",
            "rate_ml_s": "Rate, mL/s", "preparation": "Preparation, where it differs", "from_age": "From age",
            "below_age": "Below age", "least_egfr": "Least eGFR", "active": "In use",
        }  # fmt: skip
        help_texts = {
            "code": "What the modality's own protocols go by, at most 16 characters",
            "contrast_agent": "Generic name and strength: Iohexol 350 mg/mL",
        }
        widgets = {"series": forms.Textarea(attrs={"rows": 3})}

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if data.get("contrast_ml") is not None and data.get("contrast_ml_per_kg") is not None:
            self.add_error("contrast_ml_per_kg", "Give the volume for everybody or by weight, not both.")
        volumes = ("contrast_ml", "contrast_ml_per_kg", "contrast_max_ml", "rate_ml_s")
        if not data.get("contrast_agent") and any(data.get(one) is not None for one in volumes):
            self.add_error("contrast_agent", "Name the agent the volume is of.")
        wrong = [exam.name for exam in data.get("exams") or () if exam.modality != data.get("modality")]
        if wrong:
            self.add_error("exams", f"{wrong[0]} is of another modality.")
        return data


class ExamRuleForm(RecordForm):
    class Meta:
        model = ExamRule
        fields = ["needs_protocol", "default"]
        labels = {"needs_protocol": "Somebody decides the protocol", "default": "Default protocol"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        suits = Protocol.objects.filter(exams=self.instance.procedure_type_id, active=True)
        self.fields["default"].queryset = suits  # type: ignore[attr-defined]


class BypassForm(RecordForm):
    class Meta:
        model = Bypass
        fields = ["condition", "modality", "procedure_type", "active"]
        labels = {"condition": "When", "modality": "Modality", "procedure_type": "Exam", "active": "In force"}
        help_texts = {"modality": "Empty is all", "procedure_type": "Empty is all"}

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if data.get("condition") == "listed" and not data.get("procedure_type"):
            self.add_error("procedure_type", "Pick the exam that nobody has to look at.")
        return data
