"""What the shell does under the hand: keys, bursts, live lists, sheets, undo, forms sent once."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from ris.accounts.models import FormKey
from tests.browser import OpenAs, accessibility_faults, photograph, scan
from tests.cast import person
from tests.makers import make_facility
from tests.ris.desk import gallery

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.django_db(transaction=True)]
TEMPLATES = Path(__file__).parent / "templates"


@pytest.fixture(autouse=True)
def _gallery(settings: Any, db: None) -> None:
    settings.ROOT_URLCONF = "tests.ris.desk.gallery"
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [*settings.TEMPLATES[0]["DIRS"], TEMPLATES]}]
    make_facility()
    gallery.state.clear()
    gallery.state.update(version=1, posts=0, order="abc", drafts=[], acted=[])


def focused(page: Page) -> str:
    found = page.evaluate("document.activeElement.id || document.activeElement.tagName")
    assert isinstance(found, str)
    return found


def test_rows_are_walked_and_acted_on_by_keys(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/live")
    for key in ("j", "j", "ArrowDown", "k"):
        page.keyboard.press(key)
        page.wait_for_timeout(80)
    assert focused(page) == "row-b"
    page.keyboard.press("Enter")
    expect(page.locator("#toasts")).to_contain_text("Row b done")
    page.keyboard.press("u")
    expect(page.locator("#toasts")).to_contain_text("Taken back")
    assert gallery.state["undone"]
    assert focused(page) == "row-b"


def test_dictation_into_a_list_presses_no_key(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/live")
    page.keyboard.press("j")
    page.wait_for_timeout(200)
    scan(page, "assign return stat new jjj")
    page.wait_for_timeout(300)
    assert gallery.state["acted"] == []
    assert focused(page) == "row-a"
    page.keyboard.press("n")
    expect(page.locator("#toasts")).to_contain_text("Row new done")


def test_a_scan_opens_the_search_with_what_was_scanned(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/live")
    scan(page, "004417268", enter=True)
    expect(page.locator("#palette-q")).to_have_value("004417268")


def test_no_plain_key_acts_in_a_text_field(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/live")
    page.keyboard.press("/")
    expect(page.locator("[data-filter]")).to_be_focused()
    page.keyboard.type("nnn", delay=120)
    assert gallery.state["acted"] == []
    expect(page.locator("[data-filter]")).to_have_value("nnn")


def test_the_palette_opens_anywhere_and_takes_the_first_answer(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/components")
    page.locator("#id_reason").focus()
    page.keyboard.press("Control+k")
    expect(page.locator("#palette")).to_be_visible()
    page.keyboard.type("okaf 68")
    page.keyboard.press("Enter")
    page.wait_for_url("**/gallery/arrivals?found=okaf%2068")


def test_the_palette_is_closed_by_escape_and_gives_the_focus_back(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/components")
    page.locator("#id_reason").focus()
    page.keyboard.press("Control+k")
    page.locator("#pal-1").wait_for()
    photograph(page, "gallery-palette")
    assert accessibility_faults(page) == []
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()
    assert focused(page) == "id_reason"


def test_g_chords_go_to_the_lists(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/live")
    page.keyboard.press("g")
    page.wait_for_timeout(100)
    page.keyboard.press("o")
    page.wait_for_url("**/orders")


def test_the_key_sheet_lists_what_the_page_declares(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/arrivals")
    page.keyboard.press("?")
    expect(page.locator("#key-sheet")).to_contain_text("Walk-in")
    photograph(page, "gallery-keys")
    assert accessibility_faults(page) == []


def test_single_keys_can_be_switched_off(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/live")
    page.locator(".menu summary").click()
    page.get_by_role("button", name="Single-key shortcuts").click()
    page.locator("h1").click()
    page.keyboard.press("n")
    page.wait_for_timeout(300)
    assert gallery.state["acted"] == []


def test_a_live_list_follows_while_nobody_is_in_it(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/live")
    gallery.state.update(version=2, order="zcab")
    expect(page.locator("#row-z")).to_be_visible()
    assert page.locator("tbody tr").all_inner_texts()[0].startswith("z")
    expect(page.locator("#live-pill")).to_contain_text("Live · updated")


def test_a_live_list_stays_still_under_the_hand(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/live")
    page.locator("[data-filter]").fill("typed")
    page.locator("#row-b td").first.click()
    gallery.state.update(version=2, order="zcab")
    expect(page.locator("#row-b")).to_contain_text("version 2")
    expect(page.get_by_role("button", name="1 new – press .")).to_be_visible()
    ids = page.eval_on_selector_all("tbody tr", "rows => rows.map(row => row.id)")
    assert ids == ["row-a", "row-b", "row-c"]
    assert focused(page) == "row-b"
    page.keyboard.press(".")
    expect(page.locator("#row-z")).to_be_visible()
    assert focused(page) == "row-b"
    expect(page.locator("[data-filter]")).to_have_value("typed")


def test_a_list_that_cannot_be_refreshed_says_since_when(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/live")
    expect(page.locator("#live-pill")).to_contain_text("Live · updated")
    gallery.state["down"] = True
    expect(page.locator("#live-pill")).to_contain_text("Not live since", timeout=15_000)
    photograph(page, "gallery-stale")
    gallery.state["down"] = False
    expect(page.locator("#live-pill")).to_contain_text("Live · updated", timeout=15_000)


def test_a_refusal_is_said_on_the_page_that_stays(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/components")
    page.keyboard.press("r")
    expect(page.locator("#notices")).to_contain_text("TK changed the phone to …7720 at 09:33.")
    photograph(page, "gallery-notice")
    assert accessibility_faults(page) == []


def test_the_side_sheet_takes_the_focus_and_gives_it_back(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/components")
    page.keyboard.press("x")
    expect(page.locator("#sheet h2")).to_have_text("Cancel booking")
    assert page.evaluate("document.querySelector('#sheet').contains(document.activeElement)")
    page.wait_for_timeout(200)
    photograph(page, "gallery-sheet")
    assert accessibility_faults(page) == []
    page.keyboard.press("Escape")
    expect(page.locator("#sheet > *")).to_have_count(0)
    assert page.evaluate("document.activeElement.dataset.cmd") == "cancel"


def test_a_sheet_that_is_done_closes_and_offers_undo(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/components")
    page.keyboard.press("x")
    page.locator("#sheet .btn.primary").wait_for()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#toasts")).to_contain_text("OKAFOR's booking is cancelled")
    expect(page.locator("#sheet > *")).to_have_count(0)
    photograph(page, "gallery-toast")


def test_the_sheet_is_a_page_of_its_own_without_script(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/sheet")
    expect(page.locator("h1")).to_have_text("Cancel booking")
    photograph(page, "gallery-sheet-page")
    assert accessibility_faults(page) == []


def test_the_exam_is_found_as_one_types(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/components")
    page.locator("#exam").press_sequentially("ct", delay=30)
    page.get_by_role("option", name="CT head").wait_for()
    photograph(page, "gallery-combo")
    assert accessibility_faults(page) == []
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#exam")).to_have_value("CT head")
    expect(page.locator("[name=procedure]")).to_have_value("2")
    page.locator("#exam").fill("mr k")
    page.keyboard.press("Enter")
    expect(page.locator("#exam")).to_have_value("MR knee")
    expect(page.locator("[name=procedure]")).to_have_value("1")


def test_a_typed_day_is_echoed_with_its_weekday(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/components")
    field = page.locator("#id_wanted_by")
    field.fill("19 11 2026")
    expect(page.locator(".echo")).to_have_text("Thu 19-Nov-2026")
    field.blur()
    expect(field).to_have_value("19-Nov-2026")
    field.fill("31 4 2026")
    expect(page.locator(".echo")).to_have_class("echo is-wrong")


def fill_the_order(page: Page) -> None:
    page.locator("#id_reason").fill("RUQ pain")
    page.get_by_label("Left").check()


def test_a_double_click_books_once(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/components")
    fill_the_order(page)
    page.get_by_role("button", name="Save").dblclick()
    expect(page.locator("#toasts")).to_contain_text("Booked number 1")
    assert gallery.state["posts"] == 1


def test_a_form_sent_again_leads_where_it_led_first(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/components")
    fill_the_order(page)
    sent = page.evaluate("Object.fromEntries(new FormData(document.querySelector('#book')))")
    answers = [page.request.post("/gallery/components", form=sent, max_redirects=0) for _ in range(2)]
    assert [answer.status for answer in answers] == [303, 303]
    assert [answer.headers["location"] for answer in answers] == ["/gallery/components"] * 2
    assert gallery.state["posts"] == 1


def test_a_form_whose_answer_was_lost_is_not_done_again(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/components")
    fill_the_order(page)
    sent = page.evaluate("Object.fromEntries(new FormData(document.querySelector('#book')))")
    FormKey.take(sent["form_key"], person("clara"))
    answer = page.request.post("/gallery/components", form=sent)
    assert answer.status == 409
    assert "Look whether it was done" in answer.text()
    assert gallery.state["posts"] == 0


def test_a_refused_form_says_so_at_its_head_and_fields_and_can_be_sent_again(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/components")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".errors")).to_be_focused()
    expect(page).to_have_title("Error: Components · Lightbox")
    photograph(page, "gallery-errors")
    assert accessibility_faults(page) == []
    fill_the_order(page)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#toasts")).to_contain_text("Booked number 1")


def test_a_draft_is_kept_when_the_field_is_left(open_as: OpenAs) -> None:
    page = open_as(person("rita"), "/gallery/reading")
    page.locator("#f").fill("Normal study.")
    page.locator("#i").focus()
    expect(page.locator("[data-saved]")).not_to_have_text("saved 09:33:58")
    assert gallery.state["drafts"] == ["Normal study."]
    expect(page.locator("[name=version]")).to_have_value("2")


def test_theme_and_density_are_kept_for_the_device(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/arrivals")
    page.locator(".menu summary").click()
    photograph(page, "gallery-menu")
    assert accessibility_faults(page) == []
    page.get_by_role("button", name="Reading-room theme").click()
    page.get_by_role("button", name="Touch, 44 px").click()
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "reading")
    expect(page.locator("html")).to_have_attribute("data-density", "touch")
    photograph(page, "gallery-touch")
    small = page.evaluate(
        "[...document.querySelectorAll('main .btn')].filter(b => b.getBoundingClientRect().height < 44).length"
    )
    assert small == 0


def test_the_page_reflows_on_a_narrow_screen(open_as: OpenAs) -> None:
    page = open_as(person("clara"), "/gallery/components")
    page.set_viewport_size({"width": 640, "height": 900})
    photograph(page, "gallery-narrow")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
