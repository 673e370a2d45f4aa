"""Contracts on an adapter from elsewhere: `pytest tests/contracts/test_password_hasher.py --adapter package:Class`.

The option names what makes the adapter, called as the suite calls ours: a PasswordHasher with `threads` and `queue`, a
store of all storage ports without arguments (or an async context manager that gives one, empty each time). Tests that
could not be about it are left out.
"""

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest

from adapters.argon2 import Argon2Hasher


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--adapter", metavar="MODULE:FACTORY", help="run a contract on this adapter instead of ours")


def adapter_named(config: pytest.Config) -> str | None:
    """What `--adapter` says; None also where pytest was started above this folder, which does not know the option."""
    return config.getoption("--adapter", default=None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if adapter_named(config) is None:
        return
    about_it = [item for item in items if could_be_about_another(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in about_it])
    items[:] = about_it


def could_be_about_another(item: pytest.Item) -> bool:
    """Whether the test takes what it tests from a fixture that heeds the option; once, not once per adapter of ours."""
    names = getattr(item, "fixturenames", ())
    callspec = getattr(item, "callspec", None)
    ours = callspec.params.get("adapter") if callspec is not None else None
    return "new_hasher" in names or ("adapter" in names and ours == "memory")


@pytest.fixture(scope="module")
def new_hasher(request: pytest.FixtureRequest) -> Iterator[Callable[[int, int], Any]]:
    """Makes the PasswordHasher under test with `threads` and `queue`; each is closed when its module is done."""
    named = adapter_named(request.config)
    factory: Callable[..., Any] = Argon2Hasher
    if named is not None:
        module, _, attribute = named.partition(":")
        factory = getattr(import_module(module), attribute)
    made = []

    def make(threads: int, queue: int) -> Any:
        made.append(factory(threads=threads, queue=queue))
        return made[-1]

    yield make
    for hasher in made:
        hasher.close()
