"""A recording proxy: what the client sends reaches the service byte for byte (Host and order included), and both are kept."""

import http.client
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}


@dataclass
class Exchange:
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    status: int = 0
    answer: bytes = b""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def sent(self) -> dict[str, str]:
        """The request's headers by lower-case name."""
        return {name.lower(): value for name, value in self.headers}

    @property
    def operation(self) -> str:
        if self.path.endswith("/batch-operation/tasks"):
            return "batch"
        if self.path.endswith("/tasks"):
            return "list"
        if self.path.endswith("/monitor-logs"):
            return "monitor_log"
        if "/tasks/" in self.path:
            return "show"
        return "iam" if self.path.startswith("/v3/") else "other"

    def json(self):
        return json.loads(self.body)

    def answer_json(self):
        return json.loads(self.answer)


@dataclass
class Recorder:
    """Listens at `url` and passes everything on to the simulator's port."""

    upstream: int
    log: list[Exchange] = field(default_factory=list)

    def __post_init__(self):
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self):
                length = int(self.headers.get("content-length", 0))
                exchange = Exchange(self.command, self.path, list(self.headers.items()), self.rfile.read(length))
                connection = http.client.HTTPConnection("127.0.0.1", recorder.upstream)
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in exchange.headers:
                    connection.putheader(name, value)
                connection.endheaders(exchange.body or None)
                response = connection.getresponse()
                exchange.status, exchange.answer = response.status, response.read()
                recorder.log.append(exchange)
                self.send_response_only(response.status)
                for name, value in response.getheaders():
                    if name.lower() not in HOP_BY_HOP | {"content-length"}:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(exchange.answer)))
                self.end_headers()
                self.wfile.write(exchange.answer)
                connection.close()

            do_GET = do_POST = do_PUT = do_DELETE = do

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def last(self, operation: str) -> Exchange:
        return next(exchange for exchange in reversed(self.log) if exchange.operation == operation)

    def of(self, operation: str) -> list[Exchange]:
        return [exchange for exchange in self.log if exchange.operation == operation]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
