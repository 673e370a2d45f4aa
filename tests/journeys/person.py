"""A person with a browser, who signs in and allows whatever is asked; as a command, for programs that open one."""

import sys
from typing import Self

import httpx

from journeys.server_process import ADMIN, PASSWORD
from relying_party import fields


class Person:
    """Somebody with a browser of their own."""

    def __init__(self) -> None:
        self.browser = httpx.Client(follow_redirects=True, timeout=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.browser.close()

    def visit(self, address: str, decision: str = "allow") -> httpx.Response:
        """Go there, and through the pages of Hexward in between."""
        page = self.browser.get(address)
        for _ in range(3):
            hidden = {name: value for name, value in fields(page.text).items() if name in ("form_token", "ticket")}
            if "ticket" not in hidden:
                return page
            given = {"identifier": ADMIN, "password": PASSWORD} if page.url.path == "/login" else {"decision": decision}
            page = self.browser.post(page.url.copy_with(query=None), data={**hidden, **given})
        raise AssertionError(f"the pages do not end: {page.url}")

    def send(self, address: str, **form: str) -> httpx.Response:
        """Press the button of a form."""
        return self.browser.post(address, data=form)


if __name__ == "__main__":
    with Person() as person:
        person.visit(*sys.argv[1:]).raise_for_status()
