"""Editions: drafted, published, frozen; answers kept as they were said."""

from typing import Any

import pytest
from django.db import IntegrityError, InternalError, connection, transaction

from ris.core.errors import BadValue, Conflict, IllegalTransition, MissingData, NotAllowed
from ris.safety.actions import (
    Edition,
    Screening,
    change_draft,
    copy_as_draft,
    discard_draft,
    draft_questionnaire,
    keep_answers,
    publish_questionnaire,
)
from ris.safety.catalogue import EDITIONS
from ris.safety.models import AnswerSet, Question, Questionnaire, Stage
from ris.safety.worklists import differences
from tests.cast import person
from tests.ris.safety.cases import order_of, screen

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("questionnaires")]


def mr() -> Questionnaire:
    return Questionnaire.objects.get(code="MR", status="published")


def edition(**change: Any) -> Edition:
    one = mr()
    values = {"code": "MR", "title": one.title, "modalities": ("MR",), "questions": tuple(one.questions)}
    return Edition(**(values | change))


def test_the_next_edition_is_drafted_published_and_takes_the_place_of_the_last() -> None:
    first = mr()
    assert len(first.questions) == 14
    with pytest.raises(NotAllowed):
        copy_as_draft(first, by=person("theo"))
    draft = copy_as_draft(first, by=person("ada"))
    assert draft.edition == 2
    with pytest.raises(Conflict):
        copy_as_draft(first, by=person("ada"))
    fewer = (*first.questions[:3], {**first.questions[3], "text": "Any metal in you?"})
    changed = change_draft(draft, edition(questions=fewer), version=draft.version, by=person("ada"))
    with pytest.raises(Conflict):
        change_draft(draft, edition(), version=draft.version, by=person("ada"))
    told = {one.what for one in differences(first.questions, changed.questions)}
    assert {"Left out", "Other words"} <= told
    publish_questionnaire(changed, by=person("ada"))
    assert mr().edition == 2
    first.refresh_from_db()
    assert first.status == "retired"
    with pytest.raises(IllegalTransition):
        discard_draft(first, by=person("ada"))


def test_a_published_edition_never_changes_in_the_database() -> None:
    published = mr()
    with pytest.raises(IllegalTransition):
        change_draft(published, edition(title="Other"), version=published.version, by=person("ada"))
    for column, value in (("title", "Other"), ("questions", "[]"), ("valid_days", 30), ("contrast", "with")):
        with (
            pytest.raises(IntegrityError, match="stays as it is"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(
                f"UPDATE safety_questionnaire SET {column} = %s WHERE id = %s", [value, published.pk]
            )


def test_questions_that_cannot_be_asked_are_refused() -> None:
    good: Question = {"code": "one", "text": "One?", "kind": "yesno"}
    for bad in (
        [good, good], [{**good, "code": "One!"}], [{**good, "text": " "}], [{**good, "kind": "essay"}],
        [{**good, "effect": "explode"}], [{**good, "kind": "choice"}], [{**good, "states": "mood"}], [{**good, "x": 1}],
    ):  # fmt: skip
        with pytest.raises(BadValue):
            draft_questionnaire(Edition("NEW", "New", ("MR",), tuple(bad)), by=person("ada"))  # type: ignore[arg-type]
    assert [one.code for one in EDITIONS] == ["MR", "CTC", "MRC", "PREG", "NM"]


def test_an_interview_is_gone_through_and_signed_by_who_may() -> None:
    order = order_of("MR")
    (arrival,) = screen(order, Stage.ARRIVAL, tattoo="yes")
    assert arrival.reviewed_at is None
    assert "pregnant" not in arrival.answers, "a woman of 58 is not asked"
    with pytest.raises(NotAllowed):
        screen(order, by=person("clara"))
    only = {mr().pk: {"pacemaker": {"value": "no"}}}
    with pytest.raises(MissingData, match="Go through"):
        keep_answers(order, Screening(Stage.INTERVIEW, only), by=person("theo"))
    with pytest.raises(MissingData, match="Pick an answer"):
        keep_answers(order, Screening(Stage.INTERVIEW, only, reviewed=True), by=person("theo"))
    with pytest.raises(BadValue):
        keep_answers(
            order, Screening(Stage.ARRIVAL, {mr().pk: {"pacemaker": {"value": "maybe"}}}), by=person("clara")
        )
    (signed,) = screen(order)
    assert (signed.entered_by, signed.said_by) == (person("theo"), "patient")
    assert AnswerSet.objects.filter(order=order).count() == 2
    with (
        pytest.raises(InternalError, match="Cannot update"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("UPDATE safety_answerset SET answers = '{}'")
