"""The images of an exam, for the pages of apps below this one: the viewer, key images, and what the archive has."""

from collections.abc import Iterable
from typing import Any

from django import template

from interfaces import viewer
from interfaces.models import Endpoint, KeyImages
from ris.exams.models import Exam

register = template.Library()


@register.inclusion_tag("interfaces/_images_button.html")
def images_button(exam: Exam) -> dict[str, Any]:
    """A button that opens the exam's images in the site's viewer; nothing where there is none."""
    return {"exam": exam, "shown": viewer.is_set_up()}


@register.inclusion_tag("interfaces/_key_images.html")
def key_images(exams: Exam | Iterable[Exam]) -> dict[str, Any]:
    """What somebody picked out of the studies (SR-07)."""
    studies = [one.procedure.study_instance_uid for one in ([exams] if isinstance(exams, Exam) else exams)]
    return {"selections": list(KeyImages.objects.filter(study_instance_uid__in=studies).order_by("pk")[:20])}


@register.inclusion_tag("interfaces/_archive_studies.html")
def archive_studies(exam: Exam) -> dict[str, Any]:
    """A place that fills itself with the patient's studies at the archives, after the page stands."""
    return {"exam": exam, "asked": Endpoint.objects.filter(active=True, profile__priors="yes").exists()}
