"""Who is let in, with what, for how long."""

import time
from typing import Any

import pytest
from django.test import Client
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice
from playwright.sync_api import expect

from ris.accounts.models import Role, User
from ris.audit.models import AuditEvent
from ris.desk.signin import HOMES
from tests.browser import OpenAs, accessibility_faults, photograph
from tests.cast import PASSWORD, person
from tests.makers import make_facility

pytestmark = pytest.mark.django_db


def sign_in(client: Client, name: str = "clara", password: str = PASSWORD, **more: str) -> Any:
    person("clara")
    return client.post("/login", {"username": name, "password": password, **more})


def code_for(user: User, ahead: int = 0) -> str:
    device = TOTPDevice.objects.get(user=user)
    return f"{totp(device.bin_key, drift=ahead):06d}"


def enrolled(name: str) -> User:
    user = person(name)
    TOTPDevice.objects.create(user=user, name="app", confirmed=True)
    return user


def test_a_page_asks_who_is_there_and_leads_back(client: Client) -> None:
    assert client.get("/password").headers["Location"] == "/login?next=%2Fpassword"
    assert sign_in(client, next="/password").headers["Location"] == "/password"
    assert client.get("/password").status_code == 200


def test_nobody_is_led_to_another_site(client: Client) -> None:
    assert sign_in(client, next="https://elsewhere.example/").headers["Location"] == "/"


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("clara", "/board"), ("theo", "/rooms"), ("rita", "/reading"), ("rene", "/reading"), ("ben", "/billing/charges"),
        ("mona", "/board"), ("ada", "/interfaces"), ("rafe", "/orders"),
    ],
)  # fmt: skip
def test_home_is_the_list_of_the_role(client: Client, name: str, home: str) -> None:
    client.force_login(person(name))
    assert client.get("/").headers["Location"] == home


def test_every_role_of_a_person_has_a_home() -> None:
    assert set(HOMES) == set(Role) - {Role.SYSTEM}


def test_a_wrong_password_says_how_many_tries_are_left(client: Client) -> None:
    answer = sign_in(client, password="wrong")
    assert answer.status_code == 422
    assert "User or password is wrong. 4 tries left before a 5 minute wait." in answer.content.decode()
    assert AuditEvent.objects.get().outcome == AuditEvent.Outcome.REFUSED


def test_five_wrong_passwords_close_the_door_even_to_the_right_one(client: Client) -> None:
    for _ in range(5):
        answer = sign_in(client, password="wrong")
    assert answer.status_code == 429
    assert "Wait 5 minutes" in answer.content.decode()
    assert sign_in(client).status_code == 429
    assert "_auth_user_id" not in client.session


def test_signing_in_and_out_is_on_record(client: Client) -> None:
    sign_in(client)
    client.post("/logout")
    assert list(AuditEvent.objects.order_by("pk").values_list("username", "action", "outcome")) == [
        ("clara", "sign_in", "ok"),
        ("clara", "sign_out", "ok"),
    ]
    assert client.get("/").headers["Location"].startswith("/login")


def test_signing_out_takes_a_post(client: Client) -> None:
    sign_in(client)
    assert client.get("/logout").status_code == 405


def test_a_password_alone_does_not_open_an_account_with_a_second_factor(client: Client) -> None:
    user = enrolled("clara")
    assert sign_in(client).headers["Location"] == "/login/code"
    assert client.get("/password").headers["Location"].startswith("/login")
    refused = client.post("/login/code", {"code": "000000"})
    assert refused.status_code == 422
    assert "That code is wrong or has expired" in refused.content.decode()
    TOTPDevice.objects.update(throttling_failure_count=0)
    assert client.post("/login/code", {"code": code_for(user)}).status_code == 302
    assert client.get("/password").status_code == 200


def test_wrong_codes_slow_down_the_next_one(client: Client) -> None:
    user = enrolled("clara")
    sign_in(client)
    client.post("/login/code", {"code": "000000"})
    assert (
        "Too many wrong codes. Wait 1 s"
        in client.post("/login/code", {"code": code_for(user)}).content.decode()
    )


def test_a_code_opens_once(client: Client) -> None:
    user = enrolled("clara")
    sign_in(client)
    code = code_for(user)
    assert client.post("/login/code", {"code": code}).status_code == 302
    other = Client()
    sign_in(other)
    assert other.post("/login/code", {"code": code}).status_code == 422


def test_where_a_second_factor_is_demanded_it_is_set_up_at_the_first_sign_in(
    client: Client, settings: Any
) -> None:
    settings.RIS_MFA_REQUIRED = True
    user = person("clara")
    assert sign_in(client, next="/password").headers["Location"] == "/login/enrol"
    assert client.get("/password").headers["Location"].startswith("/login")
    page = client.get("/login/enrol")
    assert "<svg" in page.content.decode()
    assert client.post("/login/enrol", {"code": "000000"}).status_code == 422
    TOTPDevice.objects.update(throttling_failure_count=0)
    answer = client.post("/login/enrol", {"code": code_for(user)})
    codes = answer.context["codes"]
    assert len(codes) == 10
    assert client.get("/password").status_code == 200
    # A recovery code stands in for the phone, once.
    for status in (302, 422):
        other = Client()
        sign_in(other)
        assert other.post("/login/code", {"code": codes[0]}).status_code == status


def test_a_second_factor_is_not_replaced_by_the_password_alone(client: Client) -> None:
    enrolled("clara")
    sign_in(client)
    assert client.get("/login/enrol").headers["Location"] == "/login"


def test_a_session_made_without_the_demanded_factor_opens_nothing(client: Client, settings: Any) -> None:
    client.force_login(person("clara"))
    settings.RIS_MFA_REQUIRED = True
    assert client.get("/password").headers["Location"].startswith("/login")


def left_alone(client: Client, seconds: int, what: str = "active") -> None:
    client.get("/password")
    session = client.session
    session[what] = int(time.time()) - seconds
    session.save()


def test_a_screen_left_alone_is_locked_and_the_password_opens_it_again(client: Client, settings: Any) -> None:
    sign_in(client)
    left_alone(client, settings.RIS_IDLE_MINUTES * 60 + 1)
    assert client.get("/password").headers["Location"] == "/lock?next=%2Fpassword"
    act = client.post("/password", headers={"HX-Request": "true"})
    assert (act.status_code, act.headers["X-Locked"]) == (401, "1")
    assert client.post("/lock", {"password": "wrong"}).status_code == 422
    assert client.get("/password").status_code == 302
    assert client.post("/lock", {"password": PASSWORD}).status_code == 204
    assert client.get("/password").status_code == 200


def test_polls_of_a_live_list_do_not_keep_an_empty_chair_signed_in(client: Client, settings: Any) -> None:
    sign_in(client)
    left_alone(client, settings.RIS_IDLE_MINUTES * 60 - 5)
    assert client.get("/password", headers={"X-Live": "1"}).status_code == 200
    left_behind = client.session["active"]
    assert time.time() - left_behind > 60
    client.get("/password")
    assert time.time() - client.session["active"] < 60


def test_a_session_ends_after_the_longest_shift(client: Client, settings: Any) -> None:
    sign_in(client)
    left_alone(client, settings.RIS_SESSION_HOURS * 3600 + 1, "began")
    assert client.get("/password").headers["Location"].startswith("/login")


def test_a_new_password_ends_the_sessions_elsewhere(client: Client) -> None:
    sign_in(client)
    other = Client()
    sign_in(other)
    new = "four unrelated words here"
    assert client.post("/password", {"old": "wrong", "new": new}).status_code == 422
    assert "at least 12" in client.post("/password", {"old": PASSWORD, "new": "short"}).content.decode()
    assert client.post("/password", {"old": PASSWORD, "new": new}).status_code == 303
    assert client.get("/password").status_code == 200
    assert other.get("/password").status_code == 302


def test_an_unknown_address_is_answered_in_words(client: Client) -> None:
    stranger = client.get("/nowhere")
    assert (stranger.status_code, 'class="menu"' in stranger.content.decode()) == (404, False)
    sign_in(client)
    answer = client.get("/nowhere")
    assert answer.status_code == 404
    assert "No page has this address" in answer.content.decode()


@pytest.mark.peer("chromium")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("theme", ["light", "reading"])
def test_the_way_in_is_readable_by_everybody(open_as: OpenAs, theme: str) -> None:
    make_facility()
    user = enrolled("clara")
    page = open_as(None, "/login?next=/password", theme=theme)
    photograph(page, f"sign-in-{theme}")
    assert accessibility_faults(page) == []
    page.get_by_label("User").fill("clara")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert").first).to_contain_text("4 tries left")
    photograph(page, f"sign-in-wrong-{theme}")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_label("Code").wait_for()
    photograph(page, f"sign-in-code-{theme}")
    assert accessibility_faults(page) == []
    page.get_by_label("Code").fill(code_for(user))
    page.keyboard.press("Enter")
    page.wait_for_url("**/password")
    assert accessibility_faults(page) == []
    page.goto("/second-factor")
    photograph(page, f"second-factor-{theme}")
    assert accessibility_faults(page) == []


@pytest.mark.peer("chromium")
@pytest.mark.django_db(transaction=True)
def test_a_locked_screen_keeps_what_was_typed(open_as: OpenAs) -> None:
    make_facility()
    person("clara")
    page = open_as(None, "/login?next=/password")
    page.get_by_label("User").fill("clara")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/password")
    page.get_by_label("New password").fill("half typed")
    page.evaluate("lightbox.post('/lock', new FormData()).then(() => lightbox.lock())")
    expect(page.locator("#lock")).to_be_visible()
    photograph(page, "lock")
    assert accessibility_faults(page) == []
    page.keyboard.press("Escape")
    expect(page.locator("#lock")).to_be_visible()
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#lock [data-error]")).to_contain_text("tries left")
    page.locator("#lock-password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("#lock")).to_be_hidden()
    expect(page.get_by_label("New password")).to_have_value("half typed")
