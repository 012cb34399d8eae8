"""A web server on this machine that misbehaves as a test asks."""

import http.server
import threading


class Server(http.server.ThreadingHTTPServer):
    """Serves `body`; `plan` has what to do with the next requests, then all is well.

    "cut": close half-way. "stall": stop half-way. "ignore": the whole file,
    whatever was asked. "lie": another range than asked. A number: that status.
    """

    daemon_threads = True

    def __init__(self, body, etag='"1"'):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.etag, self.plan, self.seen = body, etag, [], []
        self.released = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/file.zip"

    def stop(self):
        self.released.set()
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.seen.append(dict(self.headers))
        todo = server.plan.pop(0) if server.plan else "serve"
        if isinstance(todo, int):
            self.send_error(todo)
            return
        start = self.start(todo)
        if start >= len(server.body) and start:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        body = server.body[start:]
        if start:
            first = start + 1 if todo == "lie" else start
            self.send_header("Content-Range", f"bytes {first}-{len(server.body) - 1}/{len(server.body)}")
        if todo != "no length":
            self.send_header("Content-Length", str(len(body)))
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        if todo in ("cut", "stall"):
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            if todo == "stall":
                server.released.wait(5)
        else:
            self.wfile.write(body)

    def start(self, todo):
        asked = self.headers.get("Range")
        if not asked or todo == "ignore" or self.headers.get("If-Range") != self.server.etag:
            return 0
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def log_message(self, *_):
        pass
