"""A small OpenID Connect issuer over real HTTP: its two documents, and tokens signed with keys of
its own.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

AUDIENCE = "api://muster"


class Issuer:
    """Publishes public keys, signs with the private ones.

    Attributes:
        url: Where it is, and how it names itself.
        asked: Paths that were asked for.
        overrides: Keys of the discovery document to answer otherwise.
        status: With which everything is answered.
    """

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.overrides: dict[str, Any] = {}
        self.status = 200
        self._keys: dict[str, tuple[str, Any]] = {}

    def add_key(self, key_id: str, algorithm: str = "RS256") -> None:
        """Make a key and publish it."""
        private = (
            rsa.generate_private_key(65537, 2048)
            if algorithm == "RS256"
            else ec.generate_private_key(ec.SECP256R1())
        )
        self._keys[key_id] = (algorithm, private)

    def drop_key(self, key_id: str) -> tuple[str, Any]:
        """Publish a key no more; return it."""
        return self._keys.pop(key_id)

    def token(
        self,
        *,
        key_id: str = "1",
        headers: dict[str, Any] | None = None,
        key: Any = None,
        **claims: Any,
    ) -> str:
        """Return a token that is good for ten minutes; a claim given as None is left out."""
        algorithm, private = key or self._keys[key_id]
        now = int(time.time())
        whole = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "rancher",
            "iat": now,
            "nbf": now,
            "exp": now + 600,
            "roles": ["Muster.Read"],
        }
        whole = {name: value for name, value in {**whole, **claims}.items() if value is not None}
        return jwt.encode(whole, private, algorithm, headers={"kid": key_id, **(headers or {})})

    def public_pem(self, key_id: str = "1") -> bytes:
        """Return a published key as PEM."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return (
            self._keys[key_id][1]
            .public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )

    def answer(self, path: str) -> dict[str, Any]:
        """Return a document."""
        self.asked.append(path)
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.overrides}
        listed = [self._published(key_id) for key_id in self._keys]
        return {
            "keys": [
                {"kty": "RSA", "kid": "broken", "use": "sig"},
                {"kty": "oct", "kid": "secret", "k": "AAAA"},
                "x",
                *listed,
            ]
        }

    def _published(self, key_id: str) -> dict[str, Any]:
        algorithm, private = self._keys[key_id]
        kind: Any = (
            jwt.algorithms.RSAAlgorithm if algorithm == "RS256" else jwt.algorithms.ECAlgorithm
        )
        return {
            **json.loads(kind.to_jwk(private.public_key())),
            "kid": key_id,
            "use": "sig",
            "alg": algorithm,
        }


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    """Serve an issuer on a free port of loopback."""
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(issuer.answer(self.path)).encode()
            self.send_response(issuer.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
