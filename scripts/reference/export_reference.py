"""Does with the files of `cellway export` what a PyTorch user does with them.

    python scripts/reference/export_reference.py again FILE.pt AGAIN.pt AGAIN.safetensors
    python scripts/reference/export_reference.py probabilities TEXTS.json FOLDER ...

`again` loads a file and saves it with torch.save and, where the format has all
of its dtypes, with safetensors (`-` for not).
`probabilities` imports FOLDER/model.py, loads model.pt and model.safetensors
into its module, and prints for each folder the probabilities of the texts, whose
ids FOLDER/tokenizer.json gives.
"""

import importlib.util
import json
import pathlib
import sys

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer


def storage_bytes(tensor):
    return torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())


def again(source, torch_file, safetensors_file):
    state = torch.load(source, weights_only=True)
    mapped = torch.load(source, weights_only=True, mmap=True)
    assert list(mapped) == list(state)
    for name, tensor in state.items():
        assert tensor.is_contiguous() and not tensor.requires_grad, name
        assert mapped[name].dtype == tensor.dtype, name
        assert torch.equal(storage_bytes(mapped[name]), storage_bytes(tensor)), name
    torch.save(state, torch_file)
    if safetensors_file != "-":
        save_file(state, safetensors_file)


def probabilities(texts_file, *folders):
    texts = json.loads(pathlib.Path(texts_file).read_text(encoding="utf-8"))
    answers = []
    for folder in map(pathlib.Path, folders):
        spec = importlib.util.spec_from_file_location("model", folder / "model.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        ids, lengths = module.pad([tokenizer.encode(text).ids for text in texts])
        rows = []
        for name in ("model.pt", "model.safetensors"):
            model = module.load(folder / name)
            assert not model.training
            with torch.inference_mode():
                rows.append(model.probabilities(ids, lengths))
        assert torch.equal(*rows), folder
        answers.append({"labels": module.LABELS, "rows": rows[0].tolist()})
    print(json.dumps(answers))


if __name__ == "__main__":
    {"again": again, "probabilities": probabilities}[sys.argv[1]](*sys.argv[2:])
