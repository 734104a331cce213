"""What is looked at before signing."""

import pytest

from ris.reporting.proofreading import checks
from ris.reporting.sections import COMPARISON, FINDINGS, IMPRESSION, section


def _seen(
    findings: str, impression: str = "Normal.", *, side: str = "", sex: str = "F"
) -> dict[str, tuple[str, str]]:
    text = [
        section(COMPARISON, "Left knee 2024."),
        section(FINDINGS, findings),
        section(IMPRESSION, impression),
    ]
    return {
        check.name: (seen.tone, seen.words) for check in checks({side}, sex) for seen in [check.look(text)]
    }


@pytest.mark.parametrize(
    ("words", "side", "told"),
    [
        ("Left knee effusion.", "L", ("ok", "Side left")),
        ("Effusion of the RIGHT knee.", "L", ("wait", "Says right, exam is left")),
        ("Left knee.", "R", ("wait", "Says left, exam is right")),
        ("Leftover bright spots.", "R", ("ok", "Side right")),
        ("Left and right.", "B", ("ok", "Side")),
        ("Left and right.", "", ("ok", "Side")),
    ],
)
def test_the_other_side_is_noticed(words: str, side: str, told: tuple[str, str]) -> None:
    assert _seen(words, side=side)["Side"] == told


@pytest.mark.parametrize(
    ("words", "sex", "told"),
    [
        ("Prostate enlarged.", "F", ("wait", "Says prostate, patient is female")),
        ("Uterus normal.", "M", ("wait", "Says uterus, patient is male")),
        ("Uterus normal.", "F", ("ok", "Sex")),
        ("Prostate and uterus.", "U", ("ok", "Sex")),
    ],
)
def test_organs_of_the_other_sex_are_noticed(words: str, sex: str, told: tuple[str, str]) -> None:
    assert _seen(words, sex=sex)["Sex"] == told


def test_what_would_block_signing_is_said_before() -> None:
    seen = _seen("Stones: [none / describe]. [size] mm.", " \n")
    assert seen["Impression"] == ("stop", "No impression")
    assert seen["Fields"] == ("stop", "2 open fields")
    assert _seen("[x]")["Fields"] == ("stop", "1 open field")
