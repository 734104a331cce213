"""What the content policy and the identity rules ask of every template and vendored file."""

import hashlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
VENDOR = ROOT / "ris" / "desk" / "static" / "vendor"

_FORBIDDEN = {
    "a style attribute": r"\sstyle\s*=",
    "a style element": r"<style",
    "an inline script": r"<script(?![^>]*\ssrc=)",
    "an inline handler": r"\s(on[a-z]+|hx-on[:a-z-]*)\s*=",
    "evaluated values": r"""hx-(vals|headers|vars)\s*=\s*["']js:""",
    "an address elsewhere": r"""\b(src|href)\s*=\s*["']https?:""",
}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_a_template_keeps_the_content_policy(template: Path) -> None:
    text = re.sub(r"{[%#].*?[%#]}", "", template.read_text(encoding="utf-8"), flags=re.S)
    assert [what for what, pattern in _FORBIDDEN.items() if re.search(pattern, text)] == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_every_form_that_posts_proves_where_it_comes_from(template: Path) -> None:
    forms = re.findall(
        r"<form\b[^>]*method=\"post\".*?</form>", template.read_text(encoding="utf-8"), re.S | re.I
    )
    # The lock's form is sent by script, which adds the header itself.
    assert [form[:80] for form in forms if "csrf_token" not in form and "data-unlock" not in form] == []


def test_vendored_files_are_the_ones_that_were_taken_over() -> None:
    listed = dict(
        reversed(line.split(maxsplit=1)) for line in (VENDOR / "SHA256SUMS").read_text().splitlines()
    )
    found = {
        str(path.relative_to(VENDOR)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name != "SHA256SUMS"
    }
    assert found == listed
    assert {
        folder.name for folder in VENDOR.iterdir() if folder.is_dir() and not list(folder.glob("LICENSE*"))
    } == set()
