"""What browsers say of themselves, as a person would. A guess for display, on which nothing rests."""

_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
)
_SHOWN_MAX = 60


def browser_and_system(user_agent: str) -> tuple[str, str] | None:
    """The two names, or None where one is not known."""
    browser = next((name for sign, name in _BROWSERS if sign in user_agent), None)
    system = next((name for sign, name in _SYSTEMS if sign in user_agent), None)
    return None if browser is None or system is None else (browser, system)


def shortened(user_agent: str) -> str:
    """The text itself, as far as a line takes it."""
    return user_agent if len(user_agent) <= _SHOWN_MAX else user_agent[: _SHOWN_MAX - 1] + "…"
