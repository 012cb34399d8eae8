"""The twin's ways to batch texts say the same, and what it scores keeps its order."""

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "reference"))

try:
    import torch
    from safetensors.torch import save_file
except ImportError:
    torch = None
else:
    import twin
    from twin_model import Classifier
    from twin_texts import BATCHINGS, Texts

CONFIG = {
    "vocab_size": 9,
    "embedding_size": 5,
    "hidden_size": 6,
    "num_layers": 1,
    "bidirectional": False,
    "proj_size": 0,
    "bias": True,
    "dropout": 0.0,
    "pooling": "last",
    "head_dropout": 0.0,
    "head": "sigmoid",
    "id2label": {"0": "no", "1": "yes"},
}
WORDS = "<unk> a b c d e f g h".split()
TOKENIZER = {
    "version": "1.0",
    "added_tokens": [],
    "pre_tokenizer": {"type": "WhitespaceSplit"},
    "model": {"type": "WordLevel", "vocab": {word: n for n, word in enumerate(WORDS)}, "unk_token": "<unk>"},
}


@unittest.skipIf(torch is None, "needs torch and safetensors")
class TwinTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        torch.manual_seed(1)
        threads = torch.get_num_threads()
        self.addCleanup(torch.set_num_threads, threads)
        self.model = self.folder / "model"
        self.model.mkdir()
        (self.model / "config.json").write_text(json.dumps(CONFIG))
        (self.model / "tokenizer.json").write_text(json.dumps(TOKENIZER))
        save_file(Classifier(CONFIG, padded=True).state_dict(), self.model / "model.safetensors")
        lengths = torch.randint(1, 12, (90,)).tolist()
        self.texts = [" ".join(WORDS[n] for n in torch.randint(1, 9, (length,)).tolist()) for length in lengths]
        rows = [
            {"text": text, "label": "yes" if "b" in text else "no", "ids": [WORDS.index(word) for word in text.split()]}
            for text in self.texts
        ]
        (self.folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (self.folder / "texts.txt").write_text("".join(text + "\n" for text in self.texts))
        batches = torch.randperm(90).split(8)
        (self.folder / "batches.json").write_text(json.dumps([rows.tolist() for rows in batches]))

    def run_twin(self, *words):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            twin.main(twin.arguments([*map(str, words), "--threads", "1"]))
        return out.getvalue(), err.getvalue()

    def losses(self, *words):
        out = self.folder / "out"
        self.run_twin(self.model, self.folder / "train.jsonl", "--out", out, "--dtype", "f64", *words)
        return [json.loads(line)["loss"] for line in (out / "losses.jsonl").read_text().splitlines()]

    def test_padded_and_packed_batches_train_alike(self):
        given = ("--batches", self.folder / "batches.json", "--epochs", 3, "--learning-rate", "0.02")
        losses = {name: self.losses("--batching", name, *given) for name in BATCHINGS}
        self.assertEqual(len(losses["packed"]), 36)
        self.assertLess(losses["packed"][-1], losses["packed"][0])
        for name, others in losses.items():
            for ours, theirs in zip(losses["packed"], others, strict=True):
                self.assertAlmostEqual(ours, theirs, delta=1e-12, msg=name)
        self.assertEqual(self.losses("--padded", *given), losses["padded"])

    def test_fused_adam_is_adam(self):
        given = ("--batches", self.folder / "batches.json", "--clip-norm", "0.5")
        for ours, theirs in zip(self.losses(*given), self.losses(*given, "--fused-adam"), strict=True):
            self.assertAlmostEqual(ours, theirs, delta=1e-10)

    def test_an_epoch_has_every_text_once(self):
        texts = Texts("texts", [[1] * length for length in torch.randint(1, 40, (500,)).tolist()])

        def padding(batches):
            return sum(max(lengths) * len(lengths) - sum(lengths) for lengths in ([len(texts.ids[n]) for n in rows] for rows in batches))

        epochs = {name: texts.epoch(name, 16) for name in BATCHINGS}
        for name, batches in epochs.items():
            self.assertEqual(sorted(sum(batches, [])), list(range(500)), name)
            self.assertLessEqual(max(map(len, batches)), 16)
        self.assertLess(4 * padding(epochs["bucketed"]), padding(epochs["padded"]))

    def test_scores_keep_the_order_of_the_texts(self):
        try:
            import tokenizers  # noqa: F401
        except ImportError:
            self.skipTest("needs tokenizers")
        out = self.folder / "scored.jsonl"
        _, said = self.run_twin("--score", self.model, "--input", self.folder / "texts.txt", "--output", out, "--batch", 7)
        self.assertEqual(json.loads(said)["texts"], 90)
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        self.assertEqual([row["text"] for row in rows], self.texts)
        for row in rows[:10]:
            alone, _ = self.run_twin("--score", self.model, "--text", row["text"])
            alone = json.loads(alone)
            self.assertEqual(alone["label"], row["label"])
            self.assertAlmostEqual(alone["probabilities"]["yes"], row["probabilities"]["yes"], delta=1e-6)
        said, _ = self.run_twin(self.model, "--latency", 20, "--input", self.folder / "texts.txt")
        said = json.loads(said)
        self.assertTrue(0 < said["p50"] <= said["p99"], said)


if __name__ == "__main__":
    unittest.main()
