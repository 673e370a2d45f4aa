"""Logs: one line per fact, readable on a terminal and JSON in production, through structlog for all libraries."""

import json
import logging
import re
import sys
import traceback

import msgspec
import structlog


def configure_logs(level: str, environment: str) -> None:
    """Send everything, the standard library's loggers included, to standard error in one shape."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.types.Processor
    if environment == "production":
        shared.append(structlog.processors.ExceptionRenderer(_traceback))
        renderer = structlog.processors.JSONRenderer(_json)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=lambda out, info: print(_traceback(info), file=out)
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=Lines,
        cache_logger_on_first_use=True,
    )
    for noisy in ("alembic", "sqlalchemy", "asyncio", "granian"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))


class Lines(structlog.WriteLogger):
    """Our own lines, one a request, go straight out: by way of the standard library each costs three times as much."""

    def __init__(self, name: str) -> None:
        super().__init__(sys.stderr)
        self.name = name


def _json(line: object, **_: object) -> str:
    try:
        return msgspec.json.encode(line, enc_hook=repr).decode()
    except UnicodeEncodeError:  # a lone surrogate, from the name of a file perhaps
        return json.dumps(line, default=repr)


_QUOTED = re.compile(r"(query argument \$\d+:).*")
_GOES_ON = ("HINT:", "Traceback", 'File "', "The above exception", "During handling", "+-")


def _traceback(exc_info: structlog.typing.ExcInfo) -> str:
    """Where it happened and what was said, without local variables (passwords, tokens) and without what PostgreSQL and
    its driver quote of what was to be stored: DETAIL and CONTEXT, however many lines, and arguments."""
    kept, quoting = [], False
    for line in "".join(traceback.format_exception(*exc_info)).splitlines():
        words = line.lstrip("| ")
        if words.startswith(("DETAIL:", "CONTEXT:")):
            quoting = True
        elif words.startswith(_GOES_ON):
            quoting = False
        if not quoting:
            kept.append(_QUOTED.sub(r"\1 ***", line))
    return "\n".join(kept)
