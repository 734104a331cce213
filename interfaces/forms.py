"""Shapes of what the monitor is told."""

from django import forms


class ReasonForm(forms.Form):
    reason = forms.CharField(
        max_length=200, label="Reason", error_messages={"required": "Say why, for whoever looks next."}
    )
