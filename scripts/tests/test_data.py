import contextlib
import hashlib
import io
import os
import pathlib
import sys
import tarfile
import tempfile
import unittest
import unittest.mock
import warnings
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import data  # noqa: E402
import demo_data  # noqa: E402
from archive import extract  # noqa: E402
from files import DataError, written_atomically  # noqa: E402
from pip_fetch import pip_fetch  # noqa: E402
from server import Server  # noqa: E402


def zipped(members, compression=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as bundle, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about names that are there twice
        for name, text in members:
            bundle.writestr(name, text)
    return out.getvalue()


def treebank(**lines):
    lines = {"train": 8544, "dev": 1101, "test": 2210} | lines
    return zipped([(f"trees/{name}.txt", "(2 a)\n" * count) for name, count in lines.items()])


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def files(self):
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())


class ExtractTest(Folder):
    def refused(self, pattern, body, targets=("a.txt",), lines=None):
        archive = self.folder / "x.zip"
        archive.write_bytes(body)
        with self.assertRaisesRegex(DataError, pattern):
            extract(archive, {name: self.folder / name for name in targets}, lines)
        self.assertEqual(self.files(), ["x.zip"])

    def test_only_what_was_asked_for(self):
        archive = self.folder / "x.zip"
        archive.write_bytes(zipped([("t/a.txt", "1\n2"), ("__MACOSX/a.txt", "junk")]))
        digests = extract(archive, {"t/a.txt": self.folder / "out" / "a.txt"}, {"t/a.txt": 2})
        self.assertEqual(self.files(), ["out/a.txt", "x.zip"])
        self.assertEqual(digests, {self.folder / "out" / "a.txt": hashlib.sha256(b"1\n2").hexdigest()})

    def test_evil_names(self):
        for name in ("../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt"):
            self.refused("unsafe name", zipped([("a.txt", "x"), (name, "x")]))

    def test_missing_and_double_members(self):
        self.refused("b.txt is in it 0 times", zipped([("a.txt", "x")]), ("a.txt", "b.txt"))
        self.refused("a.txt is in it 2 times", zipped([("a.txt", "x"), ("a.txt", "y")]))

    def test_nothing_is_kept_when_the_second_member_is_bad(self):
        body = zipped([("a.txt", "good"), ("b.txt", "rotten")], zipfile.ZIP_STORED)
        self.refused("no sound zip archive", body.replace(b"rotten", b"ratten"), ("a.txt", "b.txt"))

    def test_damaged_archives(self):
        body = zipped([("a.txt", os.urandom(5000))])
        self.refused("no sound zip archive", body[:-30])
        self.refused("no sound zip archive", b"<html>")
        self.refused("no sound zip archive", body[:100] + b"\xff" * 40 + body[140:])

    def test_number_of_lines(self):
        self.refused("has 2 lines, expected 3", zipped([("a.txt", "1\n2\n")]), lines={"a.txt": 3})


class ArchiveItemTest(Folder):
    def setUp(self):
        super().setUp()
        self.serve(treebank())

    def serve(self, body):
        self.body = body
        self.server = Server(body)
        self.addCleanup(self.server.stop)

    def run_data(self, *arguments, sha256=None, item="sst"):
        self.out, self.err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(self.out), contextlib.redirect_stderr(self.err):
            return data.main(
                [item, "--dir", str(self.folder), "--url", self.server.url, "--timeout", "5"]
                + ["--sha256", sha256 or hashlib.sha256(self.body).hexdigest(), *arguments]
            )

    def test_fetched_once(self):
        self.assertEqual(self.run_data(), 0, self.err.getvalue() if hasattr(self, "err") else "")
        made = ["README.txt", "sst.sha256", "sst/dev.txt", "sst/test.txt", "sst/train.txt", "trainDevTestTrees_PTB.zip"]
        self.assertEqual(self.files(), made)
        self.assertIn("100%", self.err.getvalue())
        self.assertEqual(self.run_data(), 0)
        self.assertEqual(self.out.getvalue(), f"sst: there, nothing to do ({self.folder})\n")
        self.assertEqual(len(self.server.seen), 1)

    def test_glove(self):
        names = [f"glove.6B.{width}d.txt" for width in (50, 100, 200, 300)]
        self.serve(zipped([(name, f"the 0.{n}\n") for n, name in enumerate(names)]))
        self.assertEqual(self.run_data(item="glove"), 0, self.err.getvalue())
        self.assertEqual([name for name in self.files() if name.endswith("d.txt")], sorted(names))
        self.assertEqual((self.folder / "glove.6B.300d.txt").read_text(), "the 0.3\n")

    def test_damaged_file_is_told_and_made_again(self):
        self.run_data()
        (self.folder / "sst/dev.txt").write_text("damaged")
        self.assertEqual(self.run_data(), 0)
        self.assertIn("dev.txt: damaged, made again", self.out.getvalue())
        self.assertEqual((self.folder / "sst/dev.txt").read_text(), "(2 a)\n" * 1101)

    def test_archive_placed_by_hand(self):
        (self.folder / "trainDevTestTrees_PTB.zip").write_bytes(self.body)
        self.assertEqual(self.run_data(), 0)
        self.assertEqual(self.server.seen, [])
        self.assertIn("sst/train.txt", self.files())

    def test_wrong_archive_placed_by_hand_is_left_and_refused(self):
        (self.folder / "trainDevTestTrees_PTB.zip").write_bytes(b"other")
        self.assertEqual(self.run_data(), 1)
        self.assertIn("not the expected file", self.err.getvalue())
        self.assertEqual(self.files(), ["README.txt", "trainDevTestTrees_PTB.zip"])

    def test_published_digest_is_demanded_of_any_address(self):
        self.assertEqual(self.run_data(sha256=data.ARCHIVES["sst"]["sha256"]), 1)
        self.assertIn("expected 5c613a4f", self.err.getvalue())
        self.assertEqual(self.files(), ["README.txt"])

    def test_splits_of_another_length(self):
        self.serve(treebank(train=9645))
        self.assertEqual(self.run_data(), 1)
        self.assertIn("trees/train.txt has 9645 lines, expected 8544", self.err.getvalue())
        self.assertEqual(self.files(), ["README.txt", "trainDevTestTrees_PTB.zip"])

    def test_arguments(self):
        for arguments, said in (
            (["imdb"], "unknown item 'imdb'"),
            (["--url", "http://x"], "exactly one of sst and glove"),
            (["sst", "glove", "--sha256", "00"], "exactly one of sst and glove"),
            (["sst", "--timeout", "0"], "--timeout must be above 0"),
        ):
            with contextlib.redirect_stderr(io.StringIO()) as err, self.assertRaises(SystemExit) as end:
                data.parse(arguments)
            self.assertEqual(end.exception.code, 2)
            self.assertIn(said, err.getvalue())
        self.assertEqual(data.parse([]).items, ["demo"])
        self.assertEqual(data.parse(["all"]).items, ["demo", "sst", "glove"])


class DemoTest(Folder):
    def test_movie_rows(self):
        rows = demo_data.movie_rows("1\t2.5\tFine é.\r\n2\t-4\tBad\r\n3\t0\tx".encode())
        self.assertEqual(rows, "1\t2.5\tFine é.\n2\t-4\tBad\n3\t0\tx\n".encode())
        for bad in (b"1\t2", b"1\tx\ta", b"1\t5\ta", b"1\tnan\ta", b"\t1\ta", b"1\t1\t ", b"1\t1\ta\nb", b"1\t1\ta\tb"):
            with self.assertRaisesRegex(DataError, "line 2 is not id, rating, text"):
                demo_data.movie_rows(b"1\t1\tgood\r\n" + bad)

    def test_glove_lines(self):
        import numpy

        values = numpy.array([[0.418, -1.0], [5.27e-05, -4.1937e-07]], dtype=numpy.float32)
        text = b"".join(demo_data.glove_lines(["the", "é"], values, batch=1))
        self.assertEqual(text.decode(), "the 0.418 -1\né 5.27e-05 -4.1937e-07\n")
        for words, said in (
            (["a"], "1 words for 2 vectors"),
            (["a", "a"], "twice"),
            (["a", "b c"], "space"),
            (["a", "b\u2028"], "space"),
            (["a", ""], "empty"),
        ):
            with self.assertRaisesRegex(DataError, said):
                list(demo_data.glove_lines(words, values))
        for value, said in ((numpy.nan, "not a finite number"), (numpy.inf, "not a finite"), (0.1234567, "more digits")):
            values[1, 1] = value
            with self.assertRaisesRegex(DataError, said):
                list(demo_data.glove_lines(["a", "b"], values))

    def test_made_once_and_made_again_when_damaged(self):
        archive = self.folder / "x.tar.gz"
        archive.write_bytes(b"archive")
        package = ("x==1", "x.tar.gz", hashlib.sha256(b"archive").hexdigest())
        path, right = self.folder / "x.txt", hashlib.sha256(b"right").hexdigest()
        with contextlib.redirect_stdout(io.StringIO()) as out:
            with self.assertRaisesRegex(DataError, "came out with SHA-256"):
                demo_data._make(path, right, package, 1, lambda _, file: file.write(b"wrong"))
            self.assertEqual(self.files(), ["x.tar.gz"])
            demo_data._make(path, right, package, 1, lambda _, file: file.write(b"right"))
            self.assertTrue(demo_data._intact(path, right))
            path.write_bytes(b"cut")
            self.assertFalse(demo_data._intact(path, right))
        self.assertIn("damaged or another file", out.getvalue())

    def test_interrupted_writing_leaves_the_old_file(self):
        path = self.folder / "x"
        path.write_bytes(b"old")
        with self.assertRaises(KeyboardInterrupt), written_atomically(path) as file:
            file.write(b"new")
            raise KeyboardInterrupt
        self.assertEqual(path.read_bytes(), b"old")
        self.assertEqual(self.files(), ["x"])


class PipTest(Folder):
    """A source archive whose setup.py leaves a mark, found by pip in a folder."""

    def setUp(self):
        super().setUp()
        self.links, self.got = self.folder / "links", self.folder / "got"
        self.links.mkdir()
        self.got.mkdir()
        mark = self.folder / "mark"
        archive = self.links / "marked-1.0.tar.gz"
        with tarfile.open(archive, "w:gz") as bundle:
            for name, text in (
                ("PKG-INFO", "Metadata-Version: 1.0\nName: marked\nVersion: 1.0\n"),
                ("setup.py", f"open({str(mark)!r}, 'w')\nimport setuptools\nsetuptools.setup(name='marked', version='1.0')"),
            ):
                entry = tarfile.TarInfo(f"marked-1.0/{name}")
                entry.size = len(text)
                bundle.addfile(entry, io.BytesIO(text.encode()))
        self.digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        environment = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.links), "PIP_CONFIG_FILE": os.devnull}
        patch = unittest.mock.patch.dict(os.environ, environment)
        patch.start()
        self.addCleanup(patch.stop)

    def test_source_archive_is_not_run(self):
        path = pip_fetch("marked==1.0", "marked-1.0.tar.gz", self.digest, self.got)
        self.assertEqual(path, self.got / "marked-1.0.tar.gz")
        self.assertEqual(self.files(), ["got/marked-1.0.tar.gz", "links/marked-1.0.tar.gz"])

    def test_other_digest(self):
        with self.assertRaisesRegex(DataError, f"(?s)pip could not download marked==1.0: .*put it at {self.got}"):
            pip_fetch("marked==1.0", "marked-1.0.tar.gz", "0" * 64, self.got)
        self.assertEqual(self.files(), ["links/marked-1.0.tar.gz"])


if __name__ == "__main__":
    unittest.main()
