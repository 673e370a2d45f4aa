"""Folders for what tests let PostgreSQL write."""

import shutil
import tempfile
from pathlib import Path

from adapters.postgres.embedded import private_place


def a_quick_place(kind: str) -> Path:
    """In memory if there is room: a database is copied in 10 ms there, and in 300 on a busy disk. Whoever asks for it
    removes it."""
    memory = Path("/dev/shm")  # noqa: S108  # a fresh folder with a random name, as private as any
    if memory.is_dir() and shutil.disk_usage(memory).free > 1 << 30:
        place = Path(tempfile.mkdtemp(prefix=f"hexward-{kind}-", dir=memory))
        place.chmod(0o711)  # the database's user may pass through
        return place
    return private_place(kind)
