"""The reference for tests/text_parity.rs: torchtext's basic_english written
with `re`, and the ids that Python's `tokenizers` finds in the same file.

    tokenizer_reference.py TOKENIZER_JSON < texts.jsonl > answers.jsonl

Each line in is one text as a JSON string; each line out answers it.
"""

import json
import re
import sys

import tokenizers

REPLACEMENTS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"\'", " '  "),
        (r"\"", ""),
        (r"\.", " . "),
        (r"<br \/>", " "),
        (r",", " , "),
        (r"\(", " ( "),
        (r"\)", " ) "),
        (r"\!", " ! "),
        (r"\?", " ? "),
        (r"\;", " "),
        (r"\:", " "),
        (r"\s+", " "),
    ]
]


def basic_english(text):
    text = text.lower()
    for pattern, replacement in REPLACEMENTS:
        text = pattern.sub(replacement, text)
    return text.split()


def main():
    tokenizer = tokenizers.Tokenizer.from_file(sys.argv[1])
    # Bytes, split at \n alone: a text may hold what str.splitlines splits at.
    for line in sys.stdin.buffer:
        text = json.loads(line)
        answer = {
            "torchtext": basic_english(text),
            "ids": tokenizer.encode(text, add_special_tokens=False).ids,
        }
        print(json.dumps(answer))


if __name__ == "__main__":
    main()
