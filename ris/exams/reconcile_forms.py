"""What a person types about images without an order."""

from typing import Any

from django import forms

from ris.department.models import Laterality, ProcedureType
from ris.orders.forms import SIDES
from ris.patients.models import Patient


class DiscardForm(forms.Form):
    reason = forms.CharField(
        label="Why no order is needed", max_length=200, help_text="A phantom, a test, a double start."
    )


class SettleForm(forms.Form):
    reason = forms.CharField(label="Why it is right as it is", max_length=200)


class MoveForm(forms.Form):
    order = forms.IntegerField(
        widget=forms.HiddenInput, error_messages={"required": "Pick the order the images belong to."}
    )
    reason = forms.CharField(
        label="How it came to the wrong order", max_length=200, initial="Wrong entry of the worklist picked",
        error_messages={"required": "Say how it came to the wrong order."},
    )  # fmt: skip


class OrderHereForm(forms.Form):
    """An order for images that exist: whose, which exam, why."""

    patient = forms.ModelChoiceField(
        Patient.objects.filter(merged_into=None), widget=forms.HiddenInput,
        error_messages={"required": "Pick the patient.", "invalid_choice": "Pick the patient."},
    )  # fmt: skip
    procedure = forms.ModelChoiceField(
        ProcedureType.objects.filter(active=True), widget=forms.HiddenInput,
        error_messages={"required": "Pick the exam.", "invalid_choice": "Pick the exam."},
    )  # fmt: skip
    side = forms.ChoiceField(
        label="Side", choices=[("", "No side"), *SIDES], required=False, widget=forms.RadioSelect
    )
    reason = forms.CharField(
        label="Reason", max_length=500, error_messages={"required": "Enter the reason for the exam."}
    )

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        exam = data.get("procedure")
        if exam and exam.laterality == Laterality.REQUIRED and not data.get("side"):
            self.add_error("side", "Pick the side: left, right or both.")
        if exam and exam.laterality == Laterality.NONE:
            data["side"] = ""
        return data
