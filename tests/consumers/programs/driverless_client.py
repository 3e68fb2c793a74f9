"""Driverless AI's Python client as far as it authenticates: its provider of tokens. The server cannot be had."""

from conversation import Answer, converse
from driverlessai.token_providers import OAuth2TokenProvider


class Client:
    """One provider, as an application holds it for its whole life."""

    provider: OAuth2TokenProvider

    def begin(self, **settings: str) -> Answer:
        """Make the provider from what an application reads."""
        self.provider = OAuth2TokenProvider(**settings)
        return {}

    def token(self) -> Answer:
        """Return the access token that a request would carry."""
        return {"token": self.provider.ensure_fresh_token()}

    def refresh(self) -> Answer:
        """Refresh as if the access token had run out."""
        self.provider.do_refresh()
        return self.token()


if __name__ == "__main__":
    client = Client()
    converse(begin=client.begin, token=client.token, refresh=client.refresh)
