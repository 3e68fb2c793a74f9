"""A person at a browser: Chromium without a window, on Keycloak's own pages."""

import sys

from conversation import Answer, converse
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE_SECONDS = 30


def browser(program: str, driver: str, profile: str) -> webdriver.Chrome:
    """Start the browser; as root it works only without its sandbox, and our own servers are all that it sees."""
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", f"user-data-dir={profile}"):
        options.add_argument(f"--{argument}")
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


class Person:
    """What a person does, and where that leads."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        """Sit down at a browser."""
        self._driver = driver

    def log_in(self, url: str, username: str, password: str) -> Answer:
        """Open a page that leads to the login form, and fill that in."""
        self._driver.get(url)
        self._wait_for(By.ID, "username").send_keys(username)
        self._driver.find_element(By.ID, "password").send_keys(password)
        return self._press("kc-login")

    def open(self, url: str) -> Answer:
        """Open a page."""
        self._driver.get(url)
        return self.look()

    def consent(self) -> Answer:
        """Say yes to what a device asks for."""
        self._wait_for(By.ID, "kc-login")
        return self._press("kc-login")

    def forget(self) -> Answer:
        """Forget every cookie."""
        self._driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        return {}

    def look(self) -> Answer:
        """Say where we are, and what stands there."""
        return {"url": self._driver.current_url, "page": self._driver.find_element(By.TAG_NAME, "body").text}

    def _press(self, identifier: str) -> Answer:
        button = self._driver.find_element(By.ID, identifier)
        button.click()
        # The page that the button belongs to is gone once the next one is there.
        WebDriverWait(self._driver, PATIENCE_SECONDS).until(lambda _: _gone(button))
        return self.look()

    def _wait_for(self, by: str, value: str):  # noqa: ANN202 - selenium's own element
        return WebDriverWait(self._driver, PATIENCE_SECONDS).until(lambda driver: driver.find_element(by, value))


def _gone(element) -> bool:  # noqa: ANN001 - selenium's own element
    try:
        element.is_enabled()
    except Exception:  # noqa: BLE001 - stale, or in a page that is being left
        return True
    return False


if __name__ == "__main__":
    started = browser(*sys.argv[1:])
    try:
        person = Person(started)
        converse(log_in=person.log_in, open=person.open, consent=person.consent, forget=person.forget, look=person.look)
    finally:
        started.quit()
