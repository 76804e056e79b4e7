"""A token server on loopback (OAuth's token exchange), whose answers a test changes: credentials that expire."""

from __future__ import annotations

import http.server
import json
import threading
from pathlib import Path
from typing import Any, Self


class TokenServer:
    """Hands out access tokens that are good for a second, or what :attr:`answer` says instead."""

    GOOD: tuple[int, dict[str, Any]] = (
        200,
        {
            "access_token": "not-a-secret",
            "expires_in": 1,
            "token_type": "Bearer",
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        },
    )

    def __init__(self) -> None:
        self.answer = self.GOOD
        self.subject, self.universe = Path(), ""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, body = outer.answer
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                """Nothing on stderr."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def account(self, subject: Path, universe: str) -> dict[str, Any]:
        """The credential configuration of a workload identity pool whose tokens come from here.

        :param subject: the file that holds the workload's own token; made here.
        :param universe: the domain of Google's names.
        """
        self.subject, self.universe = subject, universe
        subject.write_text("the-workload-itself")
        return {
            "type": "external_account",
            "audience": "//iam.googleapis.com/pool",  # names no project, which would be looked up
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"http://127.0.0.1:{self._server.server_port}/v1/token",
            "credential_source": {"file": str(subject)},
            "universe_domain": universe,
        }
