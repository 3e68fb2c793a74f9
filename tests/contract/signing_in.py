"""A user in front of a browser, as far as Keycloak's own login page needs one: forms, redirects and cookies.

Keycloak marks its cookies Secure on loopback too, where browsers send them all the same and HTTP clients do not; so
they are kept here by hand.

Source: RFC 6749 section 4.1, RFC 7636 section 4, OpenID Connect RP-Initiated Logout 1.0.
"""

from __future__ import annotations

import base64
import hashlib
import html
import http.client
import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

_FORM = re.compile(r'<form[^>]*id="kc-form-login"[^>]*action="([^"]+)"')
_CONSENT = re.compile(r'<form[^>]*action="([^"]*login-actions/consent[^"]*)"')
_CODE = re.compile(r'<input[^>]*name="code"[^>]*value="([^"]*)"')
_SECONDS = 20.0


@dataclass(slots=True)
class Page:
    """What came back."""

    status: int
    location: str
    text: str


@dataclass(slots=True)
class Browser:
    """One browser with its cookies."""

    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, url: str) -> Page:
        """Open an address; redirects are not followed."""
        return self._send("GET", url, None)

    def post(self, url: str, form: dict[str, str]) -> Page:
        """Send a form."""
        return self._send("POST", url, urlencode(form))

    def follow(self, page: Page, origin: str) -> Page:
        """Go where redirects lead, on one server."""
        while page.location:
            page = self.get(urljoin(origin, page.location))
        return page

    def _send(self, method: str, url: str, body: str | None) -> Page:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_SECONDS)
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            connection.request(method, f"{parts.path}?{parts.query}", body, headers)
            answer = connection.getresponse()
            for cookie in answer.headers.get_all("Set-Cookie") or ():
                name, _, value = cookie.partition(";")[0].partition("=")
                self.cookies[name] = value
            return Page(answer.status, answer.headers.get("Location") or "", answer.read().decode())
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """A program that signs users in, by nothing but these settings."""

    issuer: str
    client_id: str
    redirect_uri: str
    client_secret: str | None = None
    scope: str = "openid profile email"
    pkce: bool = False

    def code(self, browser: Browser, username: str, password: str) -> tuple[str, str]:
        """Have a user sign in; return the code, and the verifier (empty without PKCE).

        Raises:
            SignInError: Keycloak shows no login page, or does not send the browser back.
        """
        verifier = secrets.token_urlsafe(48) if self.pkce else ""
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": self.scope,
            "state": secrets.token_urlsafe(8),
        }
        if self.pkce:
            challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
            asked |= {"code_challenge": challenge, "code_challenge_method": "S256"}
        page = browser.get(f"{self.endpoint('auth')}?{urlencode(asked)}")
        form = _FORM.search(page.text)
        if form is not None:
            page = browser.post(html.unescape(form.group(1)), {"username": username, "password": password})
        if not page.location.startswith(self.redirect_uri):
            raise SignInError(page)
        back = parse_qs(urlsplit(page.location).query)
        if "code" not in back:
            raise SignInError(page)
        return back["code"][0], verifier

    def on_another_screen(self, browser: Browser, username: str, password: str) -> dict[str, Any]:
        """Have a user sign in by the device flow; return the tokens (RFC 8628).

        Raises:
            SignInError: A page is not what was expected.
        """
        begun = self.ask("auth/device", {"scope": self.scope})
        page = browser.follow(browser.get(begun["verification_uri_complete"]), self.issuer)
        form = _FORM.search(page.text)
        if form is None:
            raise SignInError(page)
        page = browser.post(html.unescape(form.group(1)), {"username": username, "password": password})
        page = browser.follow(page, self.issuer)
        consent, code = _CONSENT.search(page.text), _CODE.search(page.text)
        if consent is None or code is None:
            raise SignInError(page)
        there = urljoin(self.issuer, html.unescape(consent.group(1)))
        browser.follow(browser.post(there, {"code": html.unescape(code.group(1)), "accept": "Yes"}), self.issuer)
        grant = "urn:ietf:params:oauth:grant-type:device_code"
        return self.ask("token", {"grant_type": grant, "device_code": begun["device_code"]})

    def tokens(self, code: str, verifier: str = "") -> dict[str, Any]:
        """Exchange a code; return the answer, an error too."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri}
        return self.ask("token", form | ({"code_verifier": verifier} if verifier else {}))

    def ask(self, endpoint: str, form: dict[str, str]) -> dict[str, Any]:
        """Ask one of the realm's endpoints as this client (`client_secret_basic`, or by id alone)."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if self.client_secret is None:
            form = {**form, "client_id": self.client_id}
        else:
            pair = f"{self.client_id}:{self.client_secret}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return _json(self.endpoint(endpoint), urlencode(form), headers)

    def userinfo(self, access_token: str) -> dict[str, Any]:
        """Return what the realm says of the user."""
        return _json(self.endpoint("userinfo"), None, {"Authorization": f"Bearer {access_token}"})

    def endpoint(self, name: str) -> str:
        """Return the address of an endpoint."""
        return f"{self.issuer}/protocol/openid-connect/{name}"


class SignInError(Exception):
    """Keycloak did not send the browser back with a code."""

    def __init__(self, page: Page) -> None:
        """Keep what was seen."""
        text = re.sub("<script.*?</script>|<style.*?</style>|<[^>]*>", " ", page.text, flags=re.DOTALL)
        super().__init__(f"{page.status} {page.location} {' '.join(text.split())[:600]}")


def said(token: str) -> dict[str, Any]:
    """Return the claims of a token, unverified: what is tested is what Keycloak puts in."""
    payload = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return found


def _json(url: str, body: str | None, headers: dict[str, str]) -> dict[str, Any]:
    """POST a form, or GET if there is none."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_SECONDS)
    try:
        connection.request("GET" if body is None else "POST", parts.path, body, headers)
        text = connection.getresponse().read().decode()
        found: dict[str, Any] = json.loads(text) if text else {}
        return found
    finally:
        connection.close()
