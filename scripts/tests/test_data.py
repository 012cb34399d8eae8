"""scripts/data makes files that are whole, from archives that have the right digest."""

import contextlib
import hashlib
import io
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import unittest
import unittest.mock
import zipfile

LIB = pathlib.Path(__file__).resolve().parents[1] / "lib"
sys.path.insert(0, str(LIB))

import data  # noqa: E402


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.server, self.folder = pathlib.Path(folder.name, "server"), pathlib.Path(folder.name, "data")
        self.server.mkdir()
        (self.server / ".curlrc").write_text("silent\n")
        patch = unittest.mock.patch.dict(os.environ, {"CURL_HOME": str(self.server), "PIP_QUIET": "3"})
        patch.start()
        self.addCleanup(patch.stop)

    def run_main(self, archive, *arguments):
        """What it says, and why it ends or an empty text."""
        with contextlib.redirect_stdout(io.StringIO()) as out:
            try:
                data.main([*arguments, "--dir", str(self.folder)], {"demo": [archive]})
            except SystemExit as end:
                return out.getvalue(), str(end)
        return out.getvalue(), ""


class DataTest(Folder):
    """A zip archive in a folder, which curl fetches by its file:// address."""

    def setUp(self):
        super().setUp()
        self.served = self.server / "x.zip"
        with zipfile.ZipFile(self.served, "w") as bundle:
            for name in ("a", "b"):
                bundle.writestr(f"t/{name}.txt", name * 3_000_000)
        self.right = sha256(self.served.read_bytes())
        self.known = None

    def run_data(self, *arguments):
        names = {"t/a.txt": "x/a.txt", "t/b.txt": "x/b.txt"}
        files = {"x/a.txt": None, "x/b.txt": self.known}
        return self.run_main(data.Archive(self.served.as_uri(), "x.zip", self.right, files, data.members(names)), *arguments)

    def files(self):
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def assert_made(self, *arguments):
        said, error = self.run_data(*arguments)
        self.assertEqual(error, "")
        self.assertEqual(self.files(), ["README.txt", "demo.sha256", "x/a.txt", "x/b.txt"])
        self.assertEqual((self.folder / "x/a.txt").read_bytes(), b"a" * 3_000_000)
        return said

    def test_made_once_and_made_again_when_damaged(self):
        self.assert_made()
        hidden = self.served.rename(self.server / "hidden")
        self.assertEqual(self.assert_made("demo"), "demo: x/a.txt, x/b.txt: there, nothing to do\n")
        hidden.rename(self.served)
        (self.folder / "x/a.txt").write_text("cut")
        self.assertIn("demo: x/a.txt: missing or damaged", self.assert_made("all"))

    def test_a_cut_download_goes_on(self):
        self.folder.mkdir()
        body = self.served.read_bytes()
        (self.folder / "x.zip.part").write_bytes(body[:1000])
        self.served.write_bytes(b"?" * 1000 + body[1000:])
        self.assert_made()

    def test_an_archive_with_another_digest_is_refused(self):
        self.right = "0" * 64
        self.assertRegex(self.run_data()[1], r"x\.zip\.part: not the expected file .SHA-256 0000.* remove it and run this")
        self.assertEqual(self.files(), ["README.txt", "x.zip.part"])

    def test_a_file_that_comes_out_wrong_is_not_kept(self):
        self.known = sha256(b"other")
        self.assertIn("x/b.txt: came out with SHA-256", self.run_data()[1])
        self.assertFalse((self.folder / "x").exists())
        self.known = sha256(b"b" * 3_000_000)
        self.assert_made()

    def test_no_network_and_an_archive_placed_by_hand(self):
        body = self.served.read_bytes()
        self.served.unlink()
        self.assertRegex(self.run_data()[1], r"curl failed .* put it at .*data/x\.zip\.")
        (self.folder / "x.zip").write_bytes(body)
        self.assertEqual(self.run_data()[1], "")
        self.assertEqual(self.files(), ["README.txt", "demo.sha256", "x.zip", "x/a.txt", "x/b.txt"])

    def test_two_runs_take_turns(self):
        self.folder.mkdir()
        command = [sys.executable, LIB / "data.py", "demo", "--dir", self.folder]
        offline = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1"}
        with data.locked(self.folder):
            run = subprocess.Popen(command, env=os.environ | offline, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            with self.assertRaises(subprocess.TimeoutExpired):
                run.wait(1)
            self.assertEqual(self.files(), [])
        self.assertIn(b"failed with code 1", run.communicate()[0])

    def test_arguments(self):
        with contextlib.redirect_stderr(io.StringIO()) as err, self.assertRaises(SystemExit) as end:
            data.main(["imdb"])
        self.assertEqual(end.exception.code, 2)
        self.assertIn("unknown item 'imdb'", err.getvalue())

    def test_every_item_names_what_it_makes(self):
        names = [name for archives in data.ITEMS.values() for archive in archives for name in archive.files]
        self.assertEqual(len(names), 1 + 1 + 3 + 4)
        self.assertEqual(list(data.ITEMS), ["demo", "sst", "glove"])


class PipTest(Folder):
    """A source archive whose setup.py leaves a mark, found by pip in a folder."""

    def test_a_source_archive_is_checked_and_not_run(self):
        self.folder.mkdir()
        mark = self.server / "mark"
        with tarfile.open(self.server / "marked-1.0.tar.gz", "w:gz") as bundle:
            for name, text in (
                ("PKG-INFO", "Metadata-Version: 1.0\nName: marked\nVersion: 1.0\n"),
                ("setup.py", f"open({str(mark)!r}, 'w')\nimport setuptools\nsetuptools.setup(name='marked', version='1.0')"),
            ):
                entry = tarfile.TarInfo(f"marked-1.0/{name}")
                entry.size = len(text)
                bundle.addfile(entry, io.BytesIO(text.encode()))
        body = (self.server / "marked-1.0.tar.gz").read_bytes()
        links = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.server), "PIP_CONFIG_FILE": os.devnull}
        with unittest.mock.patch.dict(os.environ, links):
            for digest, error in (("0" * 64, "failed with code 1"), (sha256(body), "")):
                unpack = lambda path: [("m.txt", [path.read_bytes()])]  # noqa: E731
                archive = data.Archive("marked==1.0", "marked-1.0.tar.gz", digest, {"m.txt": sha256(body)}, unpack)
                self.assertIn(error, self.run_main(archive)[1])
                self.assertEqual((self.folder / "m.txt").exists(), not error)
        self.assertFalse(mark.exists())


if __name__ == "__main__":
    unittest.main()
