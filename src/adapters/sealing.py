"""The sealed format: how every secret that is stored is encrypted.

    offset  bytes  what
    0       1      version of the format, 0x01
    1       8      id of the key-encryption key: the first bytes of SHA-256("hexward/kek-id/1" + key)
    9       12     nonce, random for every sealing
    21      n      ciphertext of AES-256-GCM under the key-encryption key, as long as the secret
    21 + n  16     its tag

The associated data is what stands before the nonce (version and key id) followed by the context in UTF-8, so none of it
can be exchanged. The context says where the value lives: moved to another place, it does not open.

A nonce must not repeat under one key. Random ones of 96 bits are safe for 2^32 sealings (NIST SP 800-38D, 8.3); what is
sealed here (keys, factors, tokens of providers) stays far below.
"""

import hashlib
import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_VERSION = b"\x01"
_KEY_BYTES = 32
_KEY_ID_LABEL = b"hexward/kek-id/1"
_UNDER_LABEL = b"hexward/kek-under/1"
_KEY_ID_END = 1 + 8
_NONCE_BYTES = 12
_NONCE_END = _KEY_ID_END + _NONCE_BYTES
_TAG_BYTES = 16


class AesSealer:
    """Seals under `master_key`; opens what it or one of the `older` keys has sealed. Keys are 32 random bytes."""

    __slots__ = ("_keys", "_masters", "_prefix")

    def __init__(self, master_key: bytes, older: Sequence[bytes] = ()) -> None:
        """Raises ValueError for a key of another length."""
        if any(len(key) != _KEY_BYTES for key in (master_key, *older)):
            raise ValueError(f"a key-encryption key has {_KEY_BYTES} bytes")
        self._masters = (master_key, *older)
        self._prefix = _VERSION + _key_id(master_key)
        self._keys = {_VERSION + _key_id(key): AESGCM(key) for key in (*older, master_key)}

    def __repr__(self) -> str:
        return "AesSealer(***)"

    def seal(self, plain: bytes, context: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return self._prefix + nonce + self._keys[self._prefix].encrypt(nonce, plain, self._prefix + context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        if len(sealed) < _NONCE_END + _TAG_BYTES or not sealed.startswith(_VERSION):
            raise ValueError("not a value in the sealed format")
        prefix, nonce = sealed[:_KEY_ID_END], sealed[_KEY_ID_END:_NONCE_END]
        key = self._keys.get(prefix)
        if key is None:
            raise ValueError("sealed under a key-encryption key that is not the present one")
        try:
            return key.decrypt(nonce, sealed[_NONCE_END:], prefix + context.encode())
        except InvalidTag as error:
            raise ValueError("the sealed value was changed, or sealed for another place") from error

    def under(self, secret: bytes) -> "AesSealer":
        """HKDF (RFC 5869): the master key, of full strength, is the salt, so `secret` may be any text."""
        first, *older = (HKDF(SHA256(), _KEY_BYTES, master, _UNDER_LABEL).derive(secret) for master in self._masters)
        return AesSealer(first, older)


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(_KEY_ID_LABEL + key).digest()[: _KEY_ID_END - len(_VERSION)]
