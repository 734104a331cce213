"""Users: added with a role, changed, switched off; secrets are shown once; one administrator always stays."""

import re

import pytest
from django.test import Client
from django_otp.plugins.otp_totp.models import TOTPDevice

from ris.accounts.models import ApiToken, Role, User, system_user
from ris.audit.models import AuditEvent
from ris.core.errors import Conflict, NotAllowed
from ris.desk.user_actions import Person, change_user, switch_off
from ris.events.models import Event
from tests.cast import person

pytestmark = pytest.mark.django_db
NILA = {"username": "n.shah", "first_name": "Nila", "last_name": "Shah", "roles": ["frontdesk"]}


@pytest.fixture
def ada(client: Client) -> Client:
    client.force_login(person("ada"))
    return client


def secret(page: bytes) -> str:
    found = re.search(r"data-secret>([^<]+)<", page.decode())
    assert found is not None
    return found[1]


def test_a_new_user_signs_in_with_the_password_that_is_shown_once(ada: Client) -> None:
    answer = ada.post("/admin/users/new", NILA)
    password = secret(answer.content)
    assert "no-store" in answer["Cache-Control"]
    nila = User.objects.get(username="n.shah")
    assert nila.roles == ["frontdesk"]
    assert nila.check_password(password)
    assert password not in ada.get(f"/admin/users/{nila.pk}").content.decode()
    assert password not in str(list(Event.objects.values_list("facts", flat=True)))
    assert AuditEvent.objects.filter(action="user.added", username="ada").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"roles": []}, "Pick at least one role."),
        ({"roles": ["system"]}, "system is not one of the available choices"),
        ({"username": "ada"}, "The user name ada is taken."),
        ({"username": "a b"}, "letters, digits and @"),
        ({"last_name": ""}, "Enter the family name."),
    ],
)
def test_a_user_that_cannot_be_is_refused_in_words(
    change: dict[str, object], words: str, ada: Client
) -> None:
    answer = ada.post("/admin/users/new", {**NILA, **change})
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not User.objects.filter(username="n.shah").exists()


def test_roles_count_from_the_next_click_on(ada: Client, client: Client) -> None:
    clara = person("clara")
    answer = ada.post(
        f"/admin/users/{clara.pk}", {"first_name": "Clara", "last_name": "Clerk", "roles": ["biller"]}
    )
    assert answer.status_code == 303
    client.force_login(User.objects.get(pk=clara.pk))
    assert client.get("/billing/charges").status_code == 200


def test_who_is_switched_off_is_out_at_once_with_their_tokens(ada: Client) -> None:
    clara = person("clara")
    desk = Client()
    desk.force_login(clara)
    token = secret(ada.post(f"/admin/users/{clara.pk}/tokens").content)
    headers = {"Authorization": f"Token {token}"}
    assert Client().get("/api/v1/patients/", headers=headers).status_code == 200
    ada.post(f"/admin/users/{clara.pk}/off")
    assert desk.get("/password").status_code == 302
    assert Client().get("/api/v1/patients/", headers=headers).status_code == 401
    ada.post(f"/admin/users/{clara.pk}/on")
    assert User.objects.get(pk=clara.pk).is_active


def test_a_token_is_kept_as_its_digest_and_opens_nothing_once_revoked(ada: Client) -> None:
    clara = person("clara")
    token = secret(ada.post(f"/admin/users/{clara.pk}/tokens").content)
    known = ApiToken.objects.get(user=clara)
    assert known.digest == ApiToken.digest_of(token)
    ada.post(f"/admin/users/{clara.pk}/tokens/{known.pk}/revoke")
    assert Client().get("/api/v1/patients/", headers={"Authorization": f"Token {token}"}).status_code == 401
    assert ada.post(f"/admin/users/{person('theo').pk}/tokens/{known.pk}/revoke").status_code == 404


def test_the_last_administrator_stays_one() -> None:
    ada = person("ada")
    with pytest.raises(Conflict, match="last administrator"):
        change_user(ada, Person("Ada", "Admin", [Role.MANAGER]), by=ada)
    with pytest.raises(Conflict, match="cannot switch off yourself"):
        switch_off(ada, by=ada)


def test_a_new_password_ends_the_old_one(ada: Client) -> None:
    clara = person("clara")
    desk = Client()
    desk.force_login(clara)
    fresh = secret(ada.post(f"/admin/users/{clara.pk}/password").content)
    clara.refresh_from_db()
    assert clara.check_password(fresh)
    assert desk.get("/password").status_code == 302


def test_a_lost_phone_is_forgotten(ada: Client) -> None:
    clara = person("clara")
    TOTPDevice.objects.create(user=clara, confirmed=True)
    ada.post(f"/admin/users/{clara.pk}/second-factor")
    assert not TOTPDevice.objects.filter(user=clara).exists()


def test_a_system_signs_in_nowhere(ada: Client) -> None:
    epic = system_user("EPIC")
    assert ada.post(f"/admin/users/{epic.pk}/password").status_code == 409
    assert "is a system" in ada.get(f"/admin/users/{epic.pk}").content.decode()
    assert "system.EPIC" in ada.get("/admin/users?show=systems").content.decode()


@pytest.mark.parametrize("name", ["clara", "mona", "rita"])
def test_only_administrators_see_and_change_users(name: str, client: Client) -> None:
    client.force_login(person(name))
    assert client.get("/admin/users").status_code == 403
    assert client.post("/admin/users/new", NILA).status_code == 403
    with pytest.raises(NotAllowed):
        switch_off(person("theo"), by=person(name))


def test_the_list_asks_no_more_for_many_users(ada: Client, django_assert_max_num_queries: object) -> None:
    for place in range(20):
        User.objects.create(username=f"user{place}", last_name=f"Family{place}", roles=["biller"])
    with django_assert_max_num_queries(12):  # type: ignore[operator]
        ada.get("/admin/users")
