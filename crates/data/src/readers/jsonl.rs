//! One JSON object a line.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde_json::{Map, Value};

use super::lines::Lines;
use super::rows::{Reason, Rows};
use crate::error::{Error, Result};

pub(super) fn read(rows: &mut Rows) -> Result<()> {
    let options = rows.options;
    rows.each_line(|rows, number, line| {
        let row = object(&line).and_then(|object| {
            let text = text(&object, &options.text_column)?;
            Ok((text, label(&object, &options.label_column)?))
        });
        match row {
            Ok((text, label)) => rows.add(number, &text, &label),
            Err(message) => rows.refuse_line(Reason::Broken, number, message),
        }
    })
}

/// Whether the object of the first line has it; where there is none, yes.
pub(super) fn has_key(path: &Path, key: &str) -> Result<bool> {
    let file = File::open(path).map_err(Error::io(path))?;
    let first = Lines::new(BufReader::new(file), path).next();
    let first = first.and_then(|line| object(&line.ok()?.1).ok());
    Ok(first.is_none_or(|object| object.contains_key(key)))
}

/// The object of a line, or what is wrong.
pub(super) fn object(line: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(line) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("is not a JSON object".into()),
        Err(error) => Err(format!("is not a JSON object: {error}")),
    }
}

/// The string of a key, or what is wrong.
pub(super) fn text(object: &Map<String, Value>, key: &str) -> Result<String, String> {
    match value(object, key)? {
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("{key:?} is {other}, not a string")),
    }
}

/// The label of a key, or what is wrong: a string, a whole number, or a truth
/// value by its JSON name.
fn label(object: &Map<String, Value>, key: &str) -> Result<String, String> {
    match value(object, key)? {
        Value::String(label) => Ok(label.clone()),
        Value::Bool(label) => Ok(label.to_string()),
        Value::Number(label) if !label.is_f64() => Ok(label.to_string()),
        other => Err(format!(
            "{key:?} is {other}, not a string or a whole number"
        )),
    }
}

fn value<'o>(object: &'o Map<String, Value>, key: &str) -> Result<&'o Value, String> {
    object.get(key).ok_or_else(|| {
        let keys: Vec<&str> = object.keys().map(String::as_str).collect();
        format!("has no {key:?}; its keys are: {}", keys.join(", "))
    })
}
