//! A model as the source of an `nn.Module`, for people who go on in Python.

use super::{HeadKind, ModelConfig, Pooling};

/// Python source that needs nothing but torch: a module whose `state_dict` has
/// the names of ours, and `load` for the files that `cellway export` writes.
pub fn source(config: &ModelConfig) -> String {
    let probabilities = match config.head {
        HeadKind::Sigmoid => SIGMOID,
        HeadKind::Softmax => SOFTMAX,
    };
    let pooling = match config.pooling {
        Pooling::Last => vec![LAST],
        Pooling::Mean => vec![MEAN],
        Pooling::Max => vec![MAX],
        Pooling::All => vec![LAST, MEAN, MAX],
    };
    let python = |yes: bool| if yes { "True" } else { "False" };
    let max_tokens = config
        .max_tokens
        .map_or("None".to_owned(), |most| most.to_string());
    // Numbers and fixed names; labels last, since they may hold anything.
    [
        ("@VOCAB_SIZE@", config.vocab_size.to_string()),
        ("@EMBEDDING_SIZE@", config.embedding_size.to_string()),
        ("@HIDDEN_SIZE@", config.hidden_size.to_string()),
        ("@NUM_LAYERS@", config.num_layers.to_string()),
        ("@PROJ_SIZE@", config.proj_size.to_string()),
        ("@BIAS@", python(config.bias).to_owned()),
        ("@BIDIRECTIONAL@", python(config.bidirectional).to_owned()),
        ("@DROPOUT@", format!("{:?}", config.dropout)),
        ("@HEAD_DROPOUT@", format!("{:?}", config.head_dropout)),
        ("@POOLED_SIZE@", config.pooled_size().to_string()),
        ("@LOGITS@", config.logits().to_string()),
        ("@MAX_TOKENS@", max_tokens),
        ("@POOLING@", pooling.join(",\n            ")),
        ("@DIRECTIONS@", config.lstm().directions().to_string()),
        ("@PROBABILITIES@", probabilities.to_owned()),
        ("@LABELS@", labels(config)),
    ]
    .iter()
    .fold(TEMPLATE.to_owned(), |text, (mark, value)| {
        text.replace(mark, value)
    })
}

/// A list of strings. JSON's escapes are Python's, too.
fn labels(config: &ModelConfig) -> String {
    let quoted: Vec<String> = config
        .id2label
        .values()
        .map(|label| serde_json::Value::from(label.as_str()).to_string())
        .collect();
    let line = quoted.join(", ");
    match line.len() {
        0..=80 => format!("[{line}]"),
        _ => format!("[\n    {},\n]", quoted.join(",\n    ")),
    }
}

const LAST: &str = "h[-@DIRECTIONS@:].transpose(0, 1).flatten(1)";
const MEAN: &str = "output.sum(1) / lengths.clamp(min=1)";
const MAX: &str = "output.masked_fill(padding, float(\"-inf\")).amax(1)";

const SIGMOID: &str = "second = self(ids, lengths).sigmoid()
        return torch.cat([1 - second, second], -1)";
const SOFTMAX: &str = "return self(ids, lengths).softmax(-1)";

const TEMPLATE: &str = r#""""A text classifier, written by `cellway export`. Needs torch alone.

    model = load("model.pt")                # the file beside this one
    ids, lengths = pad([[5, 2, 9], [7]])    # by the model's tokenizer.json
    with torch.inference_mode():
        print(LABELS, model.probabilities(ids, lengths))
"""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

LABELS = @LABELS@
MAX_TOKENS = @MAX_TOKENS@


class Classifier(nn.Module):
    """Embedding, LSTM, pooling over each text's own length, linear."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(@VOCAB_SIZE@, @EMBEDDING_SIZE@)
        self.lstm = nn.LSTM(
            input_size=@EMBEDDING_SIZE@,
            hidden_size=@HIDDEN_SIZE@,
            num_layers=@NUM_LAYERS@,
            bias=@BIAS@,
            batch_first=True,
            dropout=@DROPOUT@,
            bidirectional=@BIDIRECTIONAL@,
            proj_size=@PROJ_SIZE@,
        )
        self.dropout = nn.Dropout(@HEAD_DROPOUT@)
        self.head = nn.Linear(@POOLED_SIZE@, @LOGITS@)

    def forward(self, ids, lengths):
        """Logits [B, @LOGITS@] of ids [B, T] with lengths [B]; behind them is padding."""
        # torch packs no text of length 0: such a one reads a step that is not used.
        packed = pack_padded_sequence(
            self.embedding(ids), lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False
        )
        output, (h, _) = self.lstm(packed)
        output, _ = pad_packed_sequence(output, batch_first=True)
        lengths = lengths.to(output.device)[:, None]
        steps = torch.arange(output.shape[1], device=output.device)
        padding = (steps >= lengths)[:, :, None]
        output = output.masked_fill(padding, 0.0)
        parts = [
            @POOLING@,
        ]
        pooled = torch.cat(parts, -1).masked_fill(lengths == 0, 0.0)
        return self.head(self.dropout(pooled))

    def probabilities(self, ids, lengths):
        """Of each label, in the order of LABELS: [B, C]."""
        @PROBABILITIES@


def pad(texts):
    """Lists of token ids as ids [B, T] and lengths [B]."""
    texts = [torch.tensor(text[:MAX_TOKENS], dtype=torch.long) for text in texts]
    lengths = torch.tensor([len(text) for text in texts])
    ids = pad_sequence(texts, batch_first=True)
    return (ids if ids.shape[1] else ids.new_zeros(len(texts), 1)), lengths


def load(path):
    """The classifier with the weights of a .pt, .pth, .bin or .safetensors file."""
    if str(path).endswith(".safetensors"):
        from safetensors.torch import load_file

        weights = load_file(path)
    else:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    model = Classifier()
    model.load_state_dict(weights, strict=True)
    return model.eval()
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_filled_and_labels_are_only_strings() {
        let hostile = ["\"]; import os #", "a\\\n\u{1}", "@LABELS@ @BIAS@"].map(str::to_owned);
        let source = source(&ModelConfig::new(9, 2, 3, &hostile));
        let line = source.lines().find(|line| line.starts_with("LABELS"));
        assert_eq!(
            line,
            Some(r#"LABELS = ["\"]; import os #", "a\\\n\u0001", "@LABELS@ @BIAS@"]"#)
        );
        assert_eq!(source.matches('@').count(), 4);
        assert!(source.contains("nn.Embedding(9, 2)"));
        assert!((60..=85).contains(&source.lines().count()));
    }

    #[test]
    fn many_labels_stand_on_lines_of_their_own() {
        let labels: Vec<String> = (0..40).map(|n| format!("label {n}")).collect();
        let source = source(&ModelConfig::new(9, 2, 3, &labels));
        assert!(source.contains("LABELS = [\n    \"label 0\",\n    \"label 1\",\n"));
        assert!(source.contains("nn.Linear(3, 40)"));
    }
}
