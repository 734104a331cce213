"""`Authorization: Token ...` for programs."""

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from ris.accounts.models import ApiToken, User


class TokenAuthentication(BaseAuthentication):
    """The digest of the token is looked up; the token itself is stored nowhere."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        scheme, _, token = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != "token" or not token:
            return None
        key = (
            ApiToken.objects.select_related("user")
            .filter(digest=ApiToken.digest_of(token.strip()), revoked_at=None, user__is_active=True)
            .first()
        )
        if key is None:
            raise AuthenticationFailed("This token is not known or was revoked.")
        return key.user, key

    def authenticate_header(self, request: Request) -> str:
        return "Token"
