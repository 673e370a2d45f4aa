"""Where a server that listens as the settings say can be reached from this machine."""

from entrypoints.settings import Settings

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared, not bound


def reachable_host(settings: Settings) -> str:
    """The host to connect to: one of this machine's own where it listens on all of them."""
    return _EVERYWHERE.get(settings.host, settings.host)


def base_url(settings: Settings) -> str:
    """Such as `http://127.0.0.1:8000`: where it listens, whatever name resolution says."""
    host = reachable_host(settings)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
