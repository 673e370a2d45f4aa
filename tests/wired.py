"""The application wired as in production, on the adapters of a test."""

from asyncio import Lock
from collections.abc import Callable, Mapping
from inspect import isawaitable
from typing import Any, NewType

from dishka import AsyncContainer, Provider, Scope, make_async_container

from entrypoints.settings import Settings
from entrypoints.wiring.container import extensions, providers
from entrypoints.wiring.footing import Place

MASTER_KEY = bytes((i * 73 + 41) % 256 for i in range(32))

type Adapters = Mapping[type[Any], Callable[[], Any]]
"""What makes the adapter of each of these ports, called once; it may be asynchronous."""

_Given = NewType("_Given", dict[type[Any], Callable[[], Any]])
_graphs: dict[object, AsyncContainer] = {}


def wired(settings: Settings, adapters: Adapters, master_key: bytes = MASTER_KEY) -> AsyncContainer:
    """As `wire` does it. Who needs whom is worked out once for all tests that replace the same ports, as that takes
    longer than most of them; nothing else is shared."""
    kind = frozenset(adapters), settings.extensions
    if kind not in _graphs:
        parts = providers(_replacing(frozenset(adapters)), *extensions(settings.extensions))
        _graphs[kind] = make_async_container(*parts, start_scope=Scope.RUNTIME)
    place = Place("postgresql://unused", master_key)
    return _graphs[kind](
        {Settings: settings, Place: place, _Given: _Given(dict(adapters))}, lock_factory=Lock, scope=Scope.APP
    )


def instead(port: type[Any], value: object) -> Adapters:
    """`value` in place of the adapter of that port."""
    return {port: always(value)}


def always(value: object) -> Callable[[], object]:
    """Makes nothing, as it is there."""
    return lambda: value


def _replacing(ports: frozenset[type[Any]]) -> Provider:
    provider = Provider(scope=Scope.APP)
    for kind in (Settings, Place, _Given):
        provider.from_context(kind, scope=Scope.APP)
    for port in ports:
        provider.provide(_maker(port), provides=port)
    return provider


def _maker(port: type[Any]) -> Callable[..., Any]:
    async def make(given: _Given) -> Any:
        made = given[port]()
        return await made if isawaitable(made) else made

    return make
