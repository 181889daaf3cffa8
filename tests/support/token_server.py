"""A token server as docker-registry wants one (distribution: spec/auth/jwt): tokens are signed, credentials checked."""

from __future__ import annotations

import base64
import json
import secrets
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ISSUER = "a test"
SERVICE = "the registry"


class TokenServer:
    """Listens on a given socket. ``public`` repositories may be pulled by anybody, all else by ``credentials``."""

    def __init__(
        self, listener: socket.socket, certificate: Path, key: Path, authority: Path, *, credentials: tuple[str, str]
    ) -> None:
        self.public: set[str] = set()
        self.requests: list[str] = []
        self._basic = "Basic " + base64.b64encode(":".join(credentials).encode()).decode()
        self._authority = authority
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
        self._chain = [base64.b64encode(loaded.public_bytes(serialization.Encoding.DER)).decode()]
        private = serialization.load_pem_private_key(key.read_bytes(), None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        self._key = private
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        self.realm = f"http://127.0.0.1:{listener.getsockname()[1]}/token"
        handler = type("Handler", (_Handler,), {"tokens": self})
        self._server = HTTPServer(("127.0.0.1", 0), handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listener
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def configuration(self) -> dict[str, Any]:
        """docker-registry's section ``auth``."""
        return {
            "token": {
                "realm": self.realm,
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": str(self._authority),
            }
        }

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, path: str, authorization: str) -> tuple[int, bytes]:
        """The answer to a request: scopes that are not allowed are left out of the token."""
        self.requests.append(path)
        if authorization and authorization != self._basic:
            return 401, json.dumps({"details": "incorrect username or password"}).encode()
        access = []
        for scope in parse_qs(urlsplit(path).query).get("scope", []):
            kind, name, actions = scope.split(":")
            if authorization or name in self.public:
                access.append({"type": kind, "name": name, "actions": actions.split(",")})
        return 200, json.dumps({"token": self._token(access), "expires_in": 300}).encode()

    def _token(self, access: list[dict[str, Any]]) -> str:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": "",
            "aud": SERVICE,
            "exp": now + 300,
            "nbf": now - 10,
            "iat": now,
            "jti": secrets.token_hex(8),
            "access": access,
        }
        signed = _part(json.dumps({"typ": "JWT", "alg": "ES256", "x5c": self._chain}).encode())
        signed += "." + _part(json.dumps(claims).encode())
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return signed + "." + _part(r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class _Handler(BaseHTTPRequestHandler):
    tokens: ClassVar[TokenServer]

    def do_GET(self) -> None:
        status, body = self.tokens.answer(self.path, self.headers.get("Authorization", ""))
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Into ``requests`` instead."""
