//! Every array of a recording by its name, for notebooks.

use std::path::Path;

use serde_json::{Map, Value, json};
use tch::{Device, Tensor};

use super::{Recording, numbers};
use crate::checkpoint::safetensors;
use crate::compare::stages::layer_name;
use crate::error::Result;

/// An array with what its axes are.
struct Array {
    name: String,
    axes: &'static [&'static str],
    tensor: Tensor,
}

impl Recording {
    fn arrays(&self) -> Vec<Array> {
        let mut arrays = Vec::new();
        let mut add = |name: String, axes, tensor: &Tensor| {
            let tensor = tensor.detach().to_device(Device::Cpu);
            arrays.push(Array { name, axes, tensor });
        };
        const INPUT: &[&str] = &["step", "input"];
        const UNIT: &[&str] = &["step", "unit"];
        const SUM: &[&str] = &["step", "gate and unit"];
        add("x".to_owned(), INPUT, &self.input);
        add("grad/x".to_owned(), INPUT, &self.gradient_input);
        let integrated = Tensor::from_slice(&self.integrated.steps);
        add("integrated/x".to_owned(), &["step"], &integrated);
        if let Some(words) = &self.words {
            let classes = words.labels.len();
            let unknown = vec![f64::NAN; classes];
            let steps = words.path.steps.iter();
            let flat: Vec<f64> = steps
                .flat_map(|step| step.as_ref().unwrap_or(&unknown).clone())
                .collect();
            let path = Tensor::from_slice(&flat).view([-1, classes as i64]);
            add("ids".to_owned(), &["step"], &Tensor::from_slice(&words.ids));
            add("path".to_owned(), &["step", "class"], &path);
        }
        for one in &self.directions {
            let place = layer_name(one.layer, one.reverse);
            let trace = &one.trace;
            for (part, axes, tensor) in [
                ("from_input", SUM, &one.from_input),
                ("from_hidden", SUM, &one.from_hidden),
                ("i", UNIT, &trace.i),
                ("f", UNIT, &trace.f),
                ("g", UNIT, &trace.g),
                ("o", UNIT, &trace.o),
                ("c", UNIT, &trace.c),
                ("h", UNIT, &trace.h),
                ("grad_c", UNIT, &one.gradient_c),
                ("grad_h", UNIT, &one.gradient_h),
                ("highway", UNIT, &one.highway),
            ] {
                add(format!("{place}/{part}"), axes, tensor);
            }
            let decisive = Tensor::from_slice(&one.decisive);
            add(format!("{place}/decisive"), &["unit"], &decisive);
        }
        arrays
    }

    /// Everything but the arrays.
    fn facts(&self) -> Map<String, Value> {
        let mut facts = Map::new();
        facts.insert("target".to_owned(), json!(self.target));
        facts.insert("y".to_owned(), json!(self.value));
        facts.insert(
            "integrated".to_owned(),
            json!({
                "baseline": self.integrated.baseline,
                "points": self.integrated.points,
                "error": self.integrated.error,
            }),
        );
        facts.insert(
            "engines".to_owned(),
            json!({"difference": self.check.largest, "tolerance": self.check.tolerance}),
        );
        if let Some(words) = &self.words {
            let probabilities = words.labels.iter().cloned();
            let probabilities = probabilities.zip(words.probabilities.iter().map(|p| json!(p)));
            let label = &words.labels[words.predicted];
            facts.insert("label".to_owned(), json!(label));
            facts.insert(
                "probabilities".to_owned(),
                Value::Object(probabilities.collect()),
            );
            facts.insert("labels".to_owned(), json!(words.labels));
            facts.insert("tokens".to_owned(), json!(words.tokens));
            facts.insert("known".to_owned(), json!(words.known));
            facts.insert("cut".to_owned(), json!(words.cut));
            facts.insert("start".to_owned(), json!(words.path.start));
        }
        facts
    }

    /// Everything, arrays as `{"axes", "shape", "values"}` with nested lists; `null` for
    /// a number that is not known.
    pub fn json(&self) -> Value {
        let arrays = self.arrays().into_iter().map(|array| {
            let shape = array.tensor.size();
            let values = nested(&numbers(&array.tensor), &shape);
            let value = json!({"axes": array.axes, "shape": shape, "values": values});
            (array.name, value)
        });
        let arrays = Value::Object(arrays.collect());
        let mut all = self.facts();
        all.insert("arrays".to_owned(), arrays);
        Value::Object(all)
    }

    /// Writes the arrays as safetensors, the rest as JSON in its metadata
    /// (`cellway.trace`). NaN stands for what is not known.
    ///
    /// Errors if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let facts = Value::Object(self.facts()).to_string();
        let arrays = self.arrays();
        let named = arrays
            .iter()
            .map(|array| (array.name.as_str(), &array.tensor));
        safetensors::save(path, named, &[("cellway.trace", &facts)])
    }
}

fn nested(numbers: &[f64], shape: &[i64]) -> Value {
    match shape {
        [_] => numbers.iter().map(|&number| json!(number)).collect(),
        [_, rest @ ..] => {
            let size = rest.iter().product::<i64>().max(1) as usize;
            numbers
                .chunks(size)
                .map(|part| nested(part, rest))
                .collect()
        }
        [] => json!(numbers[0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_nested_as_the_shape_says() {
        let numbers = [1.0, 2.0, 3.0, 4.0, f64::NAN, 6.0];
        assert_eq!(
            nested(&numbers, &[3, 2]),
            json!([[1.0, 2.0], [3.0, 4.0], [null, 6.0]])
        );
        assert_eq!(nested(&numbers[..2], &[2]), json!([1.0, 2.0]));
    }
}
