"""A store that answers every request with one error, as Amazon S3 words it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def refusing_store(code: str, status: int, times: int | None = None) -> Iterator[tuple[str, list[str]]]:
    """Its address, and the requests it got.

    Args:
        code: of the error, as in its XML.
        status: of the answers.
        times: how often it refuses; afterwards every listing is empty.
    """
    seen: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            refuses = times is None or len(seen) <= times
            body = (
                f"<Error><Code>{code}</Code><Message>key AKIASECRET of Jane Doe</Message></Error>"
                if refuses
                else "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
            ).encode()
            self.send_response(status if refuses else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_: object) -> None:
            """Nothing on the tests' output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
