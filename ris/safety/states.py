"""The life of a questionnaire's edition."""

from django.db import models

from ris.core.flow import Flow


class QuestionnaireStatus(models.TextChoices):
    DRAFT = "draft", "Draft"
    PUBLISHED = "published", "In use"
    RETIRED = "retired", "Retired"
    DISCARDED = "discarded", "Discarded"


Q = QuestionnaireStatus

QUESTIONNAIRE_FLOW = Flow(
    {
        Q.DRAFT: frozenset({Q.PUBLISHED, Q.DISCARDED}),
        # Retired by the next edition; what was answered stays readable under the words it was asked in.
        Q.PUBLISHED: frozenset({Q.RETIRED}),
        Q.RETIRED: frozenset(),
        Q.DISCARDED: frozenset(),
    }
)
