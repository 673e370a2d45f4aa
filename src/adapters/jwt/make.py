"""Key material: made, and read back from its encoded form."""

import secrets
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

type PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey | RSAPrivateKey

RSA_BITS = 2048
_RSA_EXPONENT = 65537
_HMAC_BYTES = 32
_PUBLIC_MEMBERS = frozenset({"kty", "crv", "x", "y", "n", "e"})

_MAKERS: Mapping[str, Callable[[], PrivateKey]] = {
    "ES256": lambda: generate_private_key(SECP256R1()),
    "EdDSA": Ed25519PrivateKey.generate,
    "RS256": lambda: generate_rsa_key(_RSA_EXPONENT, RSA_BITS),
}


class JwtKeyMaker:
    """Secret halves are PKCS #8 in DER for signing keys, and 32 random bytes for `HS256`."""

    def make(self, algorithm: str) -> tuple[Mapping[str, str], bytes]:
        """Raises ValueError for an algorithm that Hexward does not use."""
        if algorithm == "HS256":
            return {}, secrets.token_bytes(_HMAC_BYTES)
        if algorithm not in _MAKERS:
            raise ValueError("no such algorithm for keys")
        key = _MAKERS[algorithm]()
        return public_jwk(key), key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def read_private_key(algorithm: str, secret: bytes) -> PrivateKey:
    """What `JwtKeyMaker` made for that algorithm; raises ValueError for anything else.

    The numbers of an RSA key are not proven prime again: that takes longer than all else when keys are loaded, and only
    what this service itself made and sealed under the master key comes here, never a key from outside.
    """
    try:
        key = load_der_private_key(secret, password=None, unsafe_skip_rsa_key_validation=True)
    except TypeError as error:  # it is encrypted
        raise ValueError("the key does not open") from error
    match algorithm, key:
        case "ES256", EllipticCurvePrivateKey() if isinstance(key.curve, SECP256R1):
            return key
        case "EdDSA", Ed25519PrivateKey():
            return key
        case "RS256", RSAPrivateKey() if key.key_size >= RSA_BITS:
            return key
        case _:
            raise ValueError("the key is not one of its algorithm")


def public_jwk(key: PrivateKey) -> dict[str, str]:
    """The public half (RFC 7517; for Ed25519 RFC 8037), without `kid`."""
    if isinstance(key, EllipticCurvePrivateKey):
        jwk = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    elif isinstance(key, Ed25519PrivateKey):
        jwk = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        jwk = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {name: value for name, value in jwk.items() if name in _PUBLIC_MEMBERS}
