"""What the pages say, in English and in German. A text may hold `{names}` of what is filled in.

Another language is another catalog with the same keys, and its entry in `CATALOGS`.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

from markupsafe import Markup, escape

DEFAULT = "en"
_TAG = re.compile(r"\s*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*|\*)\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*)?")
_HEADER_MAX = 1000

ENGLISH = {
    "direction": "ltr",
    "date": "{day} {month} {year}, {time} UTC",
    "months": "January February March April May June July August September October November December",
    "title": "{page} · {brand}",
    "title.problem": "Problem: {page} · {brand}",
    "skip": "Skip to the content",
    # Signing in
    "login.title": "Sign in",
    "login.to": "to continue to {client}",
    "login.identifier": "E-mail or username",
    "login.password": "Password",
    "login.submit": "Sign in",
    "login.continue": "Continue as {name}",
    "login.other": "or with another account",
    "login.problem.credentials": "E-mail, username or password is not right.",
    "login.problem.too_many": "Too many tries. Please try again in {wait}.",
    "login.problem.busy": "We are very busy right now. Please try again in {wait}.",
    "login.problem.expired": "This page was open for too long. Please sign in again.",
    "login.problem.cookies": "Your browser keeps no cookies. Please allow them for this page and sign in again.",
    "wait.moment": "a moment",
    "wait.second": "1 second",
    "wait.seconds": "{count} seconds",
    "wait.minute": "1 minute",
    "wait.minutes": "{count} minutes",
    # Consent
    "consent.title": "Allow access?",
    "consent.asks": "{client} would like to use your account.",
    "consent.may": "It will be able to:",
    "consent.allow": "Allow",
    "consent.deny": "Deny",
    "consent.next": "Then you go on to {host}. You can disconnect the application at any time on your account page.",
    "consent.switch": "Use another account",
    "scope.openid": "know who you are",
    "scope.profile": "see your name, your username and your language",
    "scope.email": "see your e-mail address",
    "scope.offline_access": "stay connected while you are away",
    "scope.roles": "see your roles and groups",
    "scope.hexward": "act with all your rights in this service",
    "scope.other": "use “{scope}”",
    # The account
    "account.title": "Your account",
    "account.signed_in": "Signed in as {name}",
    "account.sign_out": "Sign out",
    "account.notice.profile": "Your profile has been saved.",
    "account.notice.password": "Your password has been changed. All other devices have been signed out.",
    "account.notice.session": "The device has been signed out.",
    "account.notice.application": "The application has been disconnected.",
    "account.problem": "That did not work",
    "account.problem.other": "Nothing was changed. Please try again.",
    "account.problem.password_wrong": "The current password is not right.",
    "account.problem.password_not_set": "This account has no password that could be changed.",
    "account.problem.password_changed": "The password was changed somewhere else meanwhile. Please try again.",
    "account.problem.too_many_attempts": "Too many tries. Please wait a moment and try again.",
    "account.problem.username_taken": "Somebody else has this username.",
    "field.problem.other": "This value cannot be used.",
    "field.problem.display_name_malformed": "A name has at most 200 characters, and none that cannot be seen.",
    "field.problem.username_malformed": "A username has at most 64 characters, no spaces and no @.",
    "field.problem.username_taken": "Somebody else has this username.",
    "field.problem.locale_malformed": "This is no language code such as en or pt-BR.",
    "field.problem.password_too_short": "Please use at least {least} characters.",
    "field.problem.password_too_long": "Please use at most {most} characters.",
    "field.problem.password_malformed": "This password holds characters that cannot be stored.",
    "field.problem.password_common": "This password is too easy to guess.",
    "field.problem.password_breached": "This password is known from a leak. Please choose another.",
    "profile.title": "Profile",
    "profile.email": "E-mail",
    "profile.display_name": "Name",
    "profile.username": "Username",
    "profile.username.hint": "To sign in with, instead of the e-mail address.",
    "profile.locale": "Language",
    "profile.locale.hint": "For applications: a code such as en, de or pt-BR.",
    "profile.submit": "Save profile",
    "password.title": "Password",
    "password.intro": "All other devices are signed out when you change it.",
    "password.current": "Current password",
    "password.new": "New password",
    "password.new.hint": "At least {least} characters; several words in a row are easy to remember.",
    "password.submit": "Change password",
    "sessions.title": "Devices",
    "sessions.intro": "Where you are signed in. Sign out what you do not know, and then change your password.",
    "sessions.current": "This device",
    "sessions.device": "{browser} on {system}",
    "sessions.unknown": "Unknown device",
    "sessions.by": "by {application}",
    "sessions.last_used": "Last used",
    "sessions.signed_in": "Signed in",
    "sessions.address": "Address",
    "sessions.end": "Sign out",
    "sessions.end_all": "Sign out everywhere",
    "sessions.end_all.hint": "Signs out all devices, this one too.",
    "applications.title": "Connected applications",
    "applications.none": "No application is connected to your account.",
    "applications.may": "The application may:",
    "applications.since": "Connected since",
    "applications.revoke": "Disconnect",
    # Signing out
    "sign_out.title": "Sign out?",
    "sign_out.asks": "You are about to sign out of {brand} in this browser.",
    "sign_out.asks_for": "{client} would like you to sign out of {brand} in this browser.",
    "sign_out.submit": "Sign out",
    "sign_out.stay": "Stay signed in",
    "logged_out.title": "You are signed out",
    "logged_out.text": "On a device that others use as well, close the browser now.",
    "logged_out.back": "Back to {client}",
    "logged_out.back_plain": "Back to the application",
    "logged_out.login": "Sign in again",
    # Errors
    "error.request.title": "This request cannot be answered",
    "error.request.text": "The application sent you here with a request that is not right. Go back to it and try "
    "again; if that does not help, its operators need to know.",
    "error.expired.title": "This page has expired",
    "error.expired.text": "It was open for too long, or you have signed in or out meanwhile.",
    "error.expired.back": "Go back to the application and begin again.",
    "error.not_found.title": "There is nothing here",
    "error.not_found.text": "The address may be mistyped, or the page is gone.",
    "error.busy.title": "One moment, please",
    "error.busy.text": "We are very busy right now. Please try again in a few seconds.",
    "error.unexpected.title": "Something went wrong",
    "error.unexpected.text": "That is our mistake, not yours. Please try again; if it happens again, tell us the "
    "reference below.",
    "error.detail": "Details",
    "error.reference": "Reference",
    "error.again": "Try again",
    "error.account": "To your account",
}

GERMAN = {
    "direction": "ltr",
    "date": "{day}. {month} {year}, {time} UTC",
    "months": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "title": "{page} · {brand}",
    "title.problem": "Problem: {page} · {brand}",
    "skip": "Zum Inhalt springen",
    # Anmelden
    "login.title": "Anmelden",
    "login.to": "um {client} zu verwenden",
    "login.identifier": "E-Mail oder Benutzername",
    "login.password": "Passwort",
    "login.submit": "Anmelden",
    "login.continue": "Weiter als {name}",
    "login.other": "oder mit einem anderen Konto",
    "login.problem.credentials": "E-Mail, Benutzername oder Passwort stimmt nicht.",
    "login.problem.too_many": "Zu viele Versuche. Bitte versuchen Sie es in {wait} erneut.",
    "login.problem.busy": "Wir sind gerade stark ausgelastet. Bitte versuchen Sie es in {wait} erneut.",
    "login.problem.expired": "Diese Seite war zu lange geöffnet. Bitte melden Sie sich noch einmal an.",
    "login.problem.cookies": "Ihr Browser nimmt keine Cookies an. Bitte erlauben Sie sie für diese Seite und melden "
    "Sie sich noch einmal an.",
    "wait.moment": "einem Moment",
    "wait.second": "1 Sekunde",
    "wait.seconds": "{count} Sekunden",
    "wait.minute": "1 Minute",
    "wait.minutes": "{count} Minuten",
    # Zustimmung
    "consent.title": "Zugriff erlauben?",
    "consent.asks": "{client} möchte Ihr Konto verwenden.",
    "consent.may": "Die Anwendung kann dann:",
    "consent.allow": "Erlauben",
    "consent.deny": "Ablehnen",
    "consent.next": "Danach geht es weiter zu {host}. Auf Ihrer Kontoseite können Sie die Anwendung jederzeit trennen.",
    "consent.switch": "Anderes Konto verwenden",
    "scope.openid": "erkennen, wer Sie sind",
    "scope.profile": "Ihren Namen, Ihren Benutzernamen und Ihre Sprache sehen",
    "scope.email": "Ihre E-Mail-Adresse sehen",
    "scope.offline_access": "verbunden bleiben, während Sie nicht da sind",
    "scope.roles": "Ihre Rollen und Gruppen sehen",
    "scope.hexward": "mit allen Ihren Rechten in diesem Dienst handeln",
    "scope.other": "„{scope}“ verwenden",
    # Das Konto
    "account.title": "Ihr Konto",
    "account.signed_in": "Angemeldet als {name}",
    "account.sign_out": "Abmelden",
    "account.notice.profile": "Ihr Profil wurde gespeichert.",
    "account.notice.password": "Ihr Passwort wurde geändert. Alle anderen Geräte wurden abgemeldet.",
    "account.notice.session": "Das Gerät wurde abgemeldet.",
    "account.notice.application": "Die Anwendung wurde getrennt.",
    "account.problem": "Das hat nicht geklappt",
    "account.problem.other": "Es wurde nichts geändert. Bitte versuchen Sie es noch einmal.",
    "account.problem.password_wrong": "Das aktuelle Passwort stimmt nicht.",
    "account.problem.password_not_set": "Dieses Konto hat kein Passwort, das sich ändern ließe.",
    "account.problem.password_changed": "Das Passwort wurde inzwischen anderswo geändert. Bitte versuchen Sie es "
    "noch einmal.",
    "account.problem.too_many_attempts": "Zu viele Versuche. Bitte warten Sie kurz und versuchen Sie es dann erneut.",
    "account.problem.username_taken": "Diesen Benutzernamen hat schon jemand anderes.",
    "field.problem.other": "Dieser Wert kann nicht verwendet werden.",
    "field.problem.display_name_malformed": "Ein Name hat höchstens 200 Zeichen und keine unsichtbaren.",
    "field.problem.username_malformed": "Ein Benutzername hat höchstens 64 Zeichen, keine Leerzeichen und kein @.",
    "field.problem.username_taken": "Diesen Benutzernamen hat schon jemand anderes.",
    "field.problem.locale_malformed": "Das ist kein Sprachkürzel wie de oder pt-BR.",
    "field.problem.password_too_short": "Bitte verwenden Sie mindestens {least} Zeichen.",
    "field.problem.password_too_long": "Bitte verwenden Sie höchstens {most} Zeichen.",
    "field.problem.password_malformed": "Dieses Passwort enthält Zeichen, die sich nicht speichern lassen.",
    "field.problem.password_common": "Dieses Passwort ist zu leicht zu erraten.",
    "field.problem.password_breached": "Dieses Passwort ist aus einem Datenleck bekannt. Bitte wählen Sie ein anderes.",
    "profile.title": "Profil",
    "profile.email": "E-Mail",
    "profile.display_name": "Name",
    "profile.username": "Benutzername",
    "profile.username.hint": "Zum Anmelden anstelle der E-Mail-Adresse.",
    "profile.locale": "Sprache",
    "profile.locale.hint": "Für Anwendungen: ein Kürzel wie de, en oder pt-BR.",
    "profile.submit": "Profil speichern",
    "password.title": "Passwort",
    "password.intro": "Wenn Sie es ändern, werden alle anderen Geräte abgemeldet.",
    "password.current": "Aktuelles Passwort",
    "password.new": "Neues Passwort",
    "password.new.hint": "Mindestens {least} Zeichen; mehrere Wörter hintereinander sind leicht zu merken.",
    "password.submit": "Passwort ändern",
    "sessions.title": "Geräte",
    "sessions.intro": "Hier sind Sie angemeldet. Melden Sie ab, was Sie nicht kennen, und ändern Sie dann Ihr "
    "Passwort.",
    "sessions.current": "Dieses Gerät",
    "sessions.device": "{browser} auf {system}",
    "sessions.unknown": "Unbekanntes Gerät",
    "sessions.by": "durch {application}",
    "sessions.last_used": "Zuletzt benutzt",
    "sessions.signed_in": "Angemeldet",
    "sessions.address": "Adresse",
    "sessions.end": "Abmelden",
    "sessions.end_all": "Überall abmelden",
    "sessions.end_all.hint": "Meldet alle Geräte ab, auch dieses.",
    "applications.title": "Verbundene Anwendungen",
    "applications.none": "Mit Ihrem Konto ist keine Anwendung verbunden.",
    "applications.may": "Die Anwendung darf:",
    "applications.since": "Verbunden seit",
    "applications.revoke": "Trennen",
    # Abmelden
    "sign_out.title": "Abmelden?",
    "sign_out.asks": "Sie sind dabei, sich in diesem Browser von {brand} abzumelden.",
    "sign_out.asks_for": "{client} möchte, dass Sie sich in diesem Browser von {brand} abmelden.",
    "sign_out.submit": "Abmelden",
    "sign_out.stay": "Angemeldet bleiben",
    "logged_out.title": "Sie sind abgemeldet",
    "logged_out.text": "Schließen Sie jetzt den Browser, wenn auch andere dieses Gerät benutzen.",
    "logged_out.back": "Zurück zu {client}",
    "logged_out.back_plain": "Zurück zur Anwendung",
    "logged_out.login": "Wieder anmelden",
    # Fehler
    "error.request.title": "Diese Anfrage lässt sich nicht beantworten",
    "error.request.text": "Die Anwendung hat Sie mit einer fehlerhaften Anfrage hierher geschickt. Gehen Sie zurück "
    "und versuchen Sie es noch einmal; hilft das nicht, müssen ihre Betreiber davon wissen.",
    "error.expired.title": "Diese Seite ist abgelaufen",
    "error.expired.text": "Sie war zu lange geöffnet, oder Sie haben sich inzwischen an- oder abgemeldet.",
    "error.expired.back": "Gehen Sie zurück zur Anwendung und beginnen Sie noch einmal.",
    "error.not_found.title": "Hier ist nichts",
    "error.not_found.text": "Vielleicht ist die Adresse falsch geschrieben, oder es gibt die Seite nicht mehr.",
    "error.busy.title": "Einen Moment, bitte",
    "error.busy.text": "Wir sind gerade stark ausgelastet. Bitte versuchen Sie es in ein paar Sekunden noch einmal.",
    "error.unexpected.title": "Etwas ist schiefgegangen",
    "error.unexpected.text": "Das ist unser Fehler, nicht Ihrer. Bitte versuchen Sie es noch einmal; geschieht es "
    "wieder, nennen Sie uns die Kennung unten.",
    "error.detail": "Einzelheiten",
    "error.reference": "Kennung",
    "error.again": "Noch einmal versuchen",
    "error.account": "Zu Ihrem Konto",
}

CATALOGS: Mapping[str, Mapping[str, str]] = MappingProxyType({"en": ENGLISH, "de": GERMAN})


class Words:
    """The texts of one language, for a template: whatever is filled in is escaped."""

    def __init__(self, language: str) -> None:
        self.language = language if language in CATALOGS else DEFAULT
        self._catalog = CATALOGS[self.language]

    def __call__(self, key: str, **values: object) -> Markup:
        """The text; KeyError for one there is not."""
        return escape(self._catalog[key]).format(**values)

    def of(self, prefix: str, code: str, **values: object) -> Markup:
        """The text for a code that somebody else chose, or what is said of `other` ones."""
        key = f"{prefix}.{code}"
        return self(key if key in self._catalog else f"{prefix}.other", **values)

    def date(self, moment: datetime) -> Markup:
        """Day and time, in UTC, which is named: the server does not know where the reader is."""
        there = moment.astimezone(UTC)
        text = self(
            "date",
            day=there.day,
            month=self._catalog["months"].split()[there.month - 1],
            year=there.year,
            time=f"{there:%H:%M}",
        )
        return Markup('<time datetime="{}">{}</time>').format(f"{there:%Y-%m-%dT%H:%M:%SZ}", text)

    def wait(self, seconds: int | None) -> Markup:
        """A time to wait, rounded up."""
        if not seconds or seconds < 1:
            return self("wait.moment")
        if seconds < 60:
            return self("wait.second") if seconds == 1 else self("wait.seconds", count=seconds)
        minutes = -(-seconds // 60)
        return self("wait.minute") if minutes == 1 else self("wait.minutes", count=minutes)


def language(accept_language: str, ui_locales: Sequence[str] = ()) -> str:
    """The language to speak: what an application asks for (OpenID Connect Core 3.1.2.1), what the browser likes best
    (RFC 9110, 12.5.4), or English."""
    wanted = [*ui_locales, *_by_liking(accept_language[:_HEADER_MAX])]
    return next((found for tag in wanted if (found := _spoken(tag)) is not None), DEFAULT)


def _by_liking(header: str) -> list[str]:
    """The tags of the header, the best liked first; those with q=0 are not wanted at all."""
    told = filter(None, map(_TAG.fullmatch, header.split(",")))
    liked = [(float(entry[2] or 1), entry[1]) for entry in told]
    return [tag for quality, tag in sorted(liked, key=lambda pair: -pair[0]) if 0 < quality <= 1]


def _spoken(tag: str) -> str | None:
    """The catalog for a tag, such as `de` for `de-AT`."""
    primary = tag.partition("-")[0].lower()
    if primary == "*":
        return DEFAULT
    return primary if primary in CATALOGS else None
