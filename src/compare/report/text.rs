//! A comparison with torch as text: a table for each quantity, and the verdict.

use crate::checkpoint::some_of;
use crate::compare::{Comparison, Quantity, Verdict};
use crate::report::Table;

/// The quantities in their order, and what people call them.
pub(super) const QUANTITIES: [(&str, Quantity); 3] = [
    ("values", Quantity::Value),
    ("gradients", Quantity::Gradient),
    ("optimizer steps", Quantity::Step),
];

/// The tables of all stages, the verdict in one line, and the cause if it is
/// known.
pub fn comparison_text(found: &Comparison) -> String {
    let mut parts = Vec::new();
    for (title, quantity) in QUANTITIES {
        let headers = [
            "stage",
            "absolute",
            "relative",
            "ulps",
            "of tolerance",
            "at",
        ];
        let mut table = Table::new(title, headers);
        let mut rows = 0;
        for stage in found
            .stages
            .iter()
            .filter(|stage| stage.quantity == quantity)
        {
            let difference = &stage.difference;
            table.row([
                stage.name.clone(),
                format!("{:.1e}", difference.absolute),
                format!("{:.1e}", difference.relative),
                format!("{:.1}", difference.ulps),
                tolerance_share(difference.share),
                match difference.identical {
                    true => "identical".to_owned(),
                    false => stage.at.clone(),
                },
            ]);
            rows += 1;
        }
        if rows > 0 {
            parts.push(format!("{table}\n"));
        }
    }
    if !found.not_shown.is_empty() {
        let names = found.not_shown.join(", ");
        parts.push(format!("not shown by this engine: {names}"));
    }
    if !found.other_weights.is_empty() {
        parts.push(format!("other weights: {}", some(&found.other_weights)));
    }
    if let Some(labels) = found.labels_differ {
        parts.push(format!("labels that differ: {labels}"));
    }
    parts.push(match &found.verdict {
        Verdict::Identical => "identical, to the bit".to_owned(),
        Verdict::Within { share, stage } => {
            format!(
                "within tolerance: {} of it used, by {stage}",
                tolerance_share(*share)
            )
        }
        Verdict::Outside { first, outside, .. } => {
            format!(
                "outside: {outside} of {} stages, first {first}",
                found.stages.len()
            )
        }
    });
    let outside = matches!(found.verdict, Verdict::Outside { .. });
    if outside && found.diagnosis.is_none() && found.dtype != "f64" {
        let hint = "none of the usual causes; --dtype f64 tells whether it is rounding";
        parts.push(hint.to_owned());
    }
    parts.extend(
        found
            .diagnosis
            .iter()
            .map(|diagnosis| diagnosis.message.clone()),
    );
    parts.join("\n")
}

/// The first of many.
pub(super) fn some(names: &[String]) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    some_of(&names)
}

/// The share of a tolerance that a difference uses, as people read it: `6.66 %`, `2.5 ×`.
pub(super) fn tolerance_share(share: f64) -> String {
    match share {
        share if !share.is_finite() => "no number".to_owned(),
        share if share > 1000.0 => format!("{share:.1e} ×"),
        share if share > 1.0 => format!("{share:.1} ×"),
        0.0 => "0 %".to_owned(),
        share if share < 1e-4 => format!("{:.0e} %", share * 100.0),
        share => format!("{:.2} %", share * 100.0),
    }
}

/// A tolerance as people read it: `2e-6`, `2.83e-6`.
pub(super) fn short(tolerance: f64) -> String {
    let text = format!("{tolerance:.2e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let digits = digits.trim_end_matches('0').trim_end_matches('.');
            format!("{digits}e{exponent}")
        }
        None => text,
    }
}

/// A difference as people read it.
pub(super) fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "infinite".to_owned(),
        f64::NEG_INFINITY => "-infinite".to_owned(),
        0.0 => "0".to_owned(),
        value if (0.1..1e4).contains(&value.abs()) => format!("{value:.1}"),
        value => format!("{value:.1e}"),
    }
}
