import hashlib
import io
import json
import pathlib
import socket
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from download import download  # noqa: E402
from files import DataError  # noqa: E402
from server import Server  # noqa: E402

BODY = bytes(range(256)) * 2000


def digest(body):
    return hashlib.sha256(body).hexdigest()


class Terminal(io.StringIO):
    def isatty(self):
        return True


class DownloadTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "file.zip"
        self.part = self.path.with_name("file.zip.part")
        self.server = Server(BODY)
        self.addCleanup(self.server.stop)
        self.out = io.StringIO()

    def fetch(self, sha256=None, **options):
        options = {"timeout": 5, "backoff": 0, "stream": self.out} | options
        download(self.server.url, self.path, sha256 or digest(self.server.body), **options)

    def fails(self, pattern, **options):
        with self.assertRaisesRegex(DataError, pattern):
            self.fetch(**options)
        self.assertFalse(self.path.exists())

    def arrived(self):
        self.assertEqual(self.path.read_bytes(), self.server.body)
        self.assertEqual(list(self.path.parent.iterdir()), [self.path])

    def test_whole_with_lines_of_progress(self):
        self.fetch()
        self.arrived()
        lines = self.out.getvalue().splitlines()
        self.assertLessEqual(len(lines), 11)
        self.assertIn("100% of 0.5 MB", lines[-1])
        self.assertNotIn("\x1b", self.out.getvalue())

    def test_bar_on_a_terminal(self):
        self.fetch(stream=(out := Terminal()))
        self.assertIn(f"\r\x1b[K  file.zip [{'=' * 30}] 100%", out.getvalue())
        self.assertTrue(out.getvalue().endswith("\n"))

    def test_length_unknown(self):
        self.server.plan = ["no length"]
        self.fetch()
        self.arrived()

    def test_a_cut_is_resumed(self):
        self.server.plan = ["cut"]
        self.fetch()
        self.arrived()
        self.assertEqual(len(self.server.seen), 2)
        self.assertEqual(self.server.seen[1]["Range"], f"bytes={len(BODY) // 2}-")
        self.assertEqual(self.server.seen[1]["If-Range"], '"1"')

    def test_a_later_run_goes_on(self):
        self.server.plan = ["cut"] + [503] * 3
        self.fails(r"503 .*\(4 attempts\).*go on from where it stopped")
        self.assertEqual(self.part.stat().st_size, len(BODY) // 2)
        self.fetch()
        self.arrived()
        self.assertEqual(self.server.seen[-1]["Range"], f"bytes={len(BODY) // 2}-")

    def test_whole_part_is_not_fetched_again(self):
        self.server.plan = ["cut"] + [503] * 3
        self.fails("503")
        self.part.write_bytes(BODY)
        self.fetch()
        self.arrived()
        self.assertEqual(len(self.server.seen), 4)

    def test_cut_again_and_again(self):
        self.server.plan = ["cut"] * 4
        self.fails("cut after 480000 of 512000 bytes")

    def test_server_that_ignores_ranges(self):
        self.server.plan = ["cut", "ignore"]
        self.fetch()
        self.arrived()

    def test_file_changed_on_the_server(self):
        self.server.plan = ["cut"] + [503] * 3
        self.fails("503")
        # Shorter than what came before: nothing of that may stay behind it.
        self.server.body, self.server.etag = b"new and short", '"2"'
        self.fetch()
        self.arrived()
        self.assertEqual(self.server.seen[-1]["If-Range"], '"1"')

    def test_other_length_under_the_same_etag(self):
        self.server.plan = ["cut"] + [503] * 3
        self.fails("503")
        self.server.body = BODY[::-1] + b"longer"
        self.fetch()
        self.arrived()

    def test_no_resuming_without_a_strong_validator(self):
        for etag in (None, 'W/"1"'):
            self.server.etag, self.server.plan, self.server.seen = etag, ["cut"], []
            self.fetch()
            self.arrived()
            self.assertNotIn("Range", self.server.seen[1])

    def test_part_longer_than_the_file(self):
        self.part.write_bytes(BODY + b"more")
        state = {"url": self.server.url, "validator": '"1"', "total": 10**9}
        self.part.with_name("file.zip.part.json").write_text(json.dumps(state))
        self.fetch()
        self.arrived()

    def test_part_of_unknown_origin_starts_over(self):
        for state in (None, "no json", "[]", "{}", json.dumps({"url": "x", "validator": '"1"', "total": 9})):
            self.part.write_bytes(b"junk" * 9)
            if state:
                self.part.with_name("file.zip.part.json").write_text(state)
            self.fetch()
            self.arrived()

    def test_range_that_was_not_asked_for(self):
        self.server.plan = ["cut", "lie"]
        self.fails("with another range")

    def test_wrong_digest(self):
        self.fails("SHA-256 of what came is .* expected 00.*By hand", sha256="00")
        self.assertEqual(list(self.path.parent.iterdir()), [])

    def test_not_found_is_final_and_says_what_to_do(self):
        self.server.plan = [404]
        self.fails(rf"answered 404 .*By hand: download {self.server.url} elsewhere, put it at {self.path}")
        self.assertEqual(len(self.server.seen), 1)

    def test_busy_server_is_asked_again(self):
        self.server.plan = [503, 429]
        self.fetch()
        self.arrived()
        self.assertIn("503 Service Unavailable; again in 0 s", self.out.getvalue())

    def test_stall_is_cut_and_resumed(self):
        self.server.plan = ["stall"]
        self.fetch(timeout=0.2)
        self.arrived()
        self.assertIn("no byte for 0.2 s", self.out.getvalue())

    def test_no_network(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with self.assertRaisesRegex(DataError, r"no connection .*\(4 attempts\).*By hand"):
            download(f"http://127.0.0.1:{port}/x", self.path, "00", backoff=0, stream=self.out)

    def test_only_http(self):
        with self.assertRaisesRegex(DataError, "only http and https"):
            download("file:///etc/passwd", self.path, "00")


if __name__ == "__main__":
    unittest.main()
