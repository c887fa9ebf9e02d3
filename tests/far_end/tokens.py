"""A vendor's token endpoint that rotates refresh tokens: each is good once; a second use logs its owner out."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs


class TokenEndpoint:
    """``renewals`` counts the good ones. ``logged_out``: a used refresh token came again."""

    def __init__(self) -> None:
        self.renewals = 0
        self.logged_out = False
        self.url = ""
        self.lock = threading.Lock()

    @property
    def refresh(self) -> str:
        """The only refresh token that is good now."""
        return f"refresh-{self.renewals}"

    @property
    def access(self) -> str:
        """The access token that is good now."""
        return jwt(self.renewals)

    def renew(self, refresh: str) -> dict[str, str] | None:
        """New tokens for the good refresh token; otherwise nothing, and everything is void."""
        with self.lock:
            if self.logged_out or refresh != self.refresh:
                self.logged_out = True
                return None
            self.renewals += 1
            return {"id_token": jwt(self.renewals), "access_token": self.access, "refresh_token": self.refresh}


def jwt(number: int) -> str:
    """A token in the form that clients read: an account, and an end far away."""
    claims = {
        "exp": 4_000_000_000,
        "number": number,
        "email": "ada@example.com",
        "https://api.openai.com/auth": {"chatgpt_account_id": "account", "chatgpt_plan_type": "pro"},
    }
    parts = ({"alg": "none", "typ": "JWT"}, claims, {"signed": "no"})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


@contextlib.contextmanager
def token_endpoint() -> Iterator[TokenEndpoint]:
    """It listens on loopback for as long as the block lasts."""
    made = TokenEndpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            fields = json.loads(body) if body.startswith("{") else {k: v[0] for k, v in parse_qs(body).items()}
            tokens = made.renew(fields.get("refresh_token", ""))
            said = json.dumps(tokens or {"error": {"code": "refresh_token_reused"}}).encode()
            self.send_response(200 if tokens else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_port}/oauth/token"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
