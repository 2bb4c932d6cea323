"""Tokens of an identity provider, and what those do who have none."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from recprune.errors import InputError, ParameterError
from recprune.security import Access, Denied, KeyStore, Tokens

from .asking import PEPPER

ISSUER, AUDIENCE = "https://id.example.org", "recprune"
PEM = serialization.Encoding.PEM
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
SECRET = b"s" * 32


def public(key: Any, encoding: Any = PEM) -> bytes:
    return bytes(key.public_key().public_bytes(encoding, SPKI))


def claims(**more: Any) -> dict[str, Any]:
    now = time.time()
    about = {"iss": ISSUER, "aud": AUDIENCE, "exp": now + 60, "sub": "ann", "scope": "score admin"}
    return {name: value for name, value in {**about, **more}.items() if value != "-"}


def signed(key: Any = RSA_KEY, alg: str = "RS256", header: Any = None, **more: Any) -> str:
    return jwt.encode(claims(**more), key, algorithm=alg, headers=header)


def by_hand(header: Any, payload: Any, key: bytes = SECRET) -> str:
    """A token signed as HS256, whatever its header says."""

    def text(part: Any) -> bytes:
        raw = part if isinstance(part, bytes) else json.dumps(part).encode()
        return base64.urlsafe_b64encode(raw).rstrip(b"=")

    head = text(header) + b"." + text(payload)
    seal = base64.urlsafe_b64encode(hmac.digest(key, head, hashlib.sha256)).rstrip(b"=")
    return (head + b"." + seal).decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "issuer.pem"
    path.write_bytes(public(RSA_KEY))
    return path


@pytest.fixture
def tokens(file: Path) -> Tokens:
    return Tokens(file, ISSUER, AUDIENCE)


def refused(tokens: Tokens, token: str, now: float | None = None) -> str:
    with pytest.raises(Denied) as caught:
        tokens.verify(token, now)
    assert caught.value.status == 401
    return caught.value.code


def test_a_token_names_its_caller(tokens: Tokens) -> None:
    for _ in range(2):  # the second time from memory
        caller = tokens.verify(signed())
        assert (caller.id, caller.kind, caller.scopes) == ("ann", "jwt", {"score", "admin"})
    assert tokens.verify(signed(scope="-", scp=["score"])).scopes == {"score"}
    assert tokens.verify(signed(scope="-")).scopes == set()
    assert tokens.verify(signed(aud=["other", AUDIENCE])).id == "ann"


@pytest.mark.parametrize(
    ("key", "alg"), [(EC_KEY, "ES256"), (ED_KEY, "EdDSA"), (RSA_KEY, "PS256"), (RSA_KEY, "RS512")]
)
def test_each_kind_of_key_has_its_algorithms(tmp_path: Path, key: Any, alg: str) -> None:
    (tmp_path / "key.pem").write_bytes(public(key))
    assert Tokens(tmp_path / "key.pem", ISSUER, AUDIENCE).verify(signed(key, alg)).id == "ann"


@pytest.mark.parametrize(
    "wrong",
    [
        {"aud": "another"},
        {"aud": "-"},
        {"aud": AUDIENCE + "x"},
        {"aud": []},
        {"iss": "https://id.example.org.evil.net"},
        {"iss": "-"},
        {"exp": "-"},
        {"exp": "tomorrow"},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"exp": True},
        {"exp": [1]},
        {"nbf": 4e9},
        {"nbf": 1e300},
        {"iat": 4e9},
        {"sub": "-"},
        {"sub": ""},
        {"sub": "x" * 257},
        {"sub": "\ud800"},
        {"scope": 5},
        {"scope": ["score", 5]},
        {"scope": {"score": 1}},
    ],
)
def test_claims_that_are_not_right(tokens: Tokens, wrong: dict[str, Any]) -> None:
    told = claims(**wrong)
    head = base64.urlsafe_b64encode(b'{"alg":"RS256","typ":"JWT"}').rstrip(b"=")
    body = head + b"." + base64.urlsafe_b64encode(json.dumps(told).encode()).rstrip(b"=")
    algorithm = jwt.get_algorithm_by_name("RS256")
    seal = base64.urlsafe_b64encode(algorithm.sign(body, RSA_KEY)).rstrip(b"=")
    assert refused(tokens, (body + b"." + seal).decode()) in ("invalid_credentials", "expired")


def test_a_token_ends_also_when_it_is_known(tokens: Tokens) -> None:
    ends = time.time() + 60
    token = signed(exp=ends)
    assert tokens.verify(token).id == "ann"
    assert refused(tokens, token, ends + 31) == "expired"
    assert refused(tokens, signed(exp=time.time() - 31)) == "expired"


def test_no_algorithm_is_none(tokens: Tokens) -> None:
    for alg in ("none", "None", "NONE", "nOnE", "", None, 5, ["RS256"]):
        token = by_hand({"alg": alg, "typ": "JWT"}, claims())
        assert refused(tokens, token) == "invalid_credentials"
        assert refused(tokens, token.rpartition(".")[0] + ".") == "invalid_credentials"
    assert refused(tokens, by_hand({"typ": "JWT"}, claims())) == "invalid_credentials"


def test_the_public_key_is_no_secret(tokens: Tokens) -> None:
    der = serialization.Encoding.DER
    for known in (public(RSA_KEY), public(RSA_KEY).strip(), public(RSA_KEY, der)):
        for alg in ("HS256", "HS384", "hs256"):
            token = by_hand({"alg": alg, "typ": "JWT"}, claims(), known)
            assert refused(tokens, token) == "invalid_credentials"


def test_another_key_is_not_this_one(tokens: Tokens) -> None:
    other = rsa.generate_private_key(65537, 2048)
    for token in (signed(other), signed(EC_KEY, "ES256"), signed(ED_KEY, "EdDSA")):
        assert refused(tokens, token) == "invalid_credentials"
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(other.public_key()))
    for header in ({"jwk": jwk}, {"jku": "https://evil.net"}, {"x5u": "https://evil.net"}):
        assert refused(tokens, signed(other, header=header)) == "invalid_credentials"


@pytest.mark.parametrize(
    "kid", ["../../dev/null", "/etc/passwd", "' OR 1=1", "a\0b", "", 5, None, []]
)
def test_a_kid_is_a_name_among_names(tmp_path: Path, kid: Any) -> None:
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key()))
    (tmp_path / "set.json").write_text(json.dumps({"keys": [{**jwk, "kid": "2026"}]}))
    tokens = Tokens(tmp_path / "set.json", ISSUER, AUDIENCE)
    assert tokens.verify(signed(header={"kid": "2026"})).id == "ann"
    token = by_hand({"alg": "RS256", "kid": kid}, claims())
    assert refused(tokens, token) == "invalid_credentials"
    assert refused(tokens, by_hand({"alg": "HS256", "kid": kid}, claims(), b"")) is not None


def test_a_set_of_keys_is_read_again_when_it_changes(tmp_path: Path) -> None:
    old = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key()))
    new = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(EC_KEY.public_key()))
    path = tmp_path / "set.json"
    path.write_text(json.dumps({"keys": [{**old, "kid": "a", "alg": "RS256"}]}))
    tokens = Tokens(path, ISSUER, AUDIENCE)
    token = signed(header={"kid": "a"})
    assert tokens.verify(token).id == "ann"
    assert refused(tokens, signed(RSA_KEY, "RS384", {"kid": "a"})) == "invalid_credentials"
    path.write_text(json.dumps({"keys": [{**new, "kid": "b"}, {"kty": "oct", "k": "AAAA"}]}))
    assert refused(tokens, token) == "invalid_credentials", "also one that was known"
    assert tokens.verify(signed(EC_KEY, "ES256", {"kid": "b"})).id == "ann"
    assert refused(tokens, by_hand({"alg": "HS256"}, claims(), bytes(3))) == "invalid_credentials"


def test_a_shared_secret_allows_one_algorithm(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(SECRET + b"\n")
    tokens = Tokens(tmp_path / "secret", ISSUER, AUDIENCE)
    assert tokens.verify(signed(SECRET, "HS256")).id == "ann"
    assert refused(tokens, by_hand({"alg": "none"}, claims())) == "invalid_credentials"


@pytest.mark.parametrize("edge", [b" ", b"\t", b"\n", b"\r", b"\v", b"\f"])
def test_a_secret_of_random_bytes_is_taken_as_it_is(tmp_path: Path, edge: bytes) -> None:
    secret = b" " + bytes(range(200, 230)) + edge + b"\0" + edge
    (tmp_path / "secret").write_bytes(secret + b"\n")
    tokens = Tokens(tmp_path / "secret", ISSUER, AUDIENCE)
    expected = secret.removesuffix(b"\r")  # as an editor may end the line
    assert tokens.verify(signed(expected, "HS256")).id == "ann"


def unknown_kind() -> bytes:
    """A public key in PEM of an algorithm that nobody knows (OID 1.2.3)."""
    text = base64.encodebytes(bytes.fromhex("300b300406022a030303000000")).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{text}-----END PUBLIC KEY-----\n".encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        unknown_kind(),
        b'{"keys": ["a"]}',
        b'{"keys": [[]]}',
        b'{"keys": ' + b"[" * 5000,
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        b'{"keys": []}',
        b'{"keys": [{"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}]}',
        b"{",
        public(RSA_KEY, serialization.Encoding.DER),
        b"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC user@host",
        RSA_KEY.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        public(ec.generate_private_key(ec.SECP256K1())),
    ],
)
def test_a_file_that_holds_no_key_for_this_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(InputError):
        Tokens(tmp_path / "key", ISSUER, AUDIENCE)


def test_what_is_no_token_is_refused_quickly(tokens: Tokens) -> None:
    deep = base64.urlsafe_b64encode(b"[" * 5000).decode().rstrip("=")
    huge = base64.urlsafe_b64encode(b'{"alg": ' + b"9" * 5000 + b"}").decode().rstrip("=")
    started = time.monotonic()
    for token in ("", ".", "..", "...", "a.b.c", f"{deep}.a.b", f"{huge}.a.b", "ä.ö.ü"):
        assert refused(tokens, token) == "invalid_credentials"
    assert refused(tokens, signed(more="x" * 10_000)) == "invalid_credentials"
    assert refused(tokens, "a" * 10_000_000) == "invalid_credentials"
    assert time.monotonic() - started < 20


def test_extensions_that_have_to_be_understood_are_not(tokens: Tokens) -> None:
    for header in ({"crit": ["x"], "x": 1}, {"b64": False, "crit": ["b64"]}):
        assert refused(tokens, signed(header=header)) == "invalid_credentials"


def test_claims_can_be_asked_for(file: Path) -> None:
    tokens = Tokens(file, ISSUER, AUDIENCE, required=("tenant",))
    assert refused(tokens, signed()) == "invalid_credentials"
    assert tokens.verify(signed(tenant="a")).id == "ann"


def test_keys_and_tokens_stand_side_by_side(tmp_path: Path, tokens: Tokens) -> None:
    keys = KeyStore(tmp_path / "keys.json", PEPPER)
    key, token = keys.create("shop", ["score"])
    access = Access(keys, tokens)
    assert access.caller([(b"authorization", f"Bearer {token}".encode())]).id == key.id
    assert access.caller([(b"authorization", f"Bearer {signed()}".encode())]).kind == "jwt"
    with pytest.raises(Denied):
        access.caller([(b"x-api-key", signed().encode())])
    with pytest.raises(Denied):
        Access(None, tokens).caller([(b"authorization", f"Bearer {token}".encode())])


def test_without_issuer_or_audience_any_token_would_do(file: Path) -> None:
    for issuer, audience in (("", AUDIENCE), (ISSUER, "")):
        with pytest.raises(ParameterError, match="not empty"):
            Tokens(file, issuer, audience)


def test_a_file_that_goes_missing_refuses_everyone(file: Path, tokens: Tokens) -> None:
    token = signed()
    assert tokens.verify(token).id == "ann"
    file.unlink()
    assert refused(tokens, token) == "invalid_credentials"
    file.write_bytes(b"junk")
    with pytest.raises(Denied) as caught:
        tokens.verify(token)
    assert caught.value.status == 503
