//! Which parameters are trained alike.

use super::Config;
use super::optim::Group;
use crate::model::Model;

/// The embedding, for its rate; the biases, where they do not decay; and the
/// rest. What is frozen is in no group.
pub(super) fn groups(config: &Config, model: &Model) -> Vec<Group> {
    let group = |rate_factor, weight_decay| Group {
        parameters: Vec::new(),
        rate_factor,
        weight_decay,
    };
    let decay = config.train.weight_decay();
    let mut embedding = group(config.embedding.rate_factor, decay);
    let mut biases = group(1.0, 0.0);
    let mut rest = group(1.0, decay);
    for (name, tensor) in model.parameters() {
        let of = match () {
            () if !tensor.requires_grad() => continue,
            () if name.starts_with("embedding.") => &mut embedding,
            () if is_bias(&name) && !config.train.decay_biases => &mut biases,
            () => &mut rest,
        };
        of.parameters.push((name, tensor.shallow_clone()));
    }
    vec![rest, biases, embedding]
}

/// `lstm.bias_ih_l0`, `head.bias`.
fn is_bias(name: &str) -> bool {
    (name.rsplit('.').next()).is_some_and(|last| last.starts_with("bias"))
}

#[cfg(test)]
mod tests {
    use super::super::prepare;
    use super::super::tests::Toy;
    use super::*;

    fn names(group: &Group) -> Vec<&str> {
        let names = group.parameters.iter().map(|(name, _)| name.as_str());
        names.collect()
    }

    #[test]
    fn every_parameter_is_in_one_group_with_its_rate_and_decay() {
        let mut toy = Toy::new();
        toy.config.train.weight_decay = Some(0.3);
        toy.config.embedding.rate_factor = 0.1;
        let model = prepare(&toy.config).unwrap().model;

        let [rest, biases, embedding] = &groups(&toy.config, &model)[..] else {
            panic!("three groups")
        };
        let all = [
            "lstm.weight_ih_l0",
            "lstm.weight_hh_l0",
            "lstm.bias_ih_l0",
            "lstm.bias_hh_l0",
            "head.weight",
            "head.bias",
        ];
        assert_eq!(names(rest), all);
        assert!(names(biases).is_empty());
        assert_eq!(names(embedding), ["embedding.weight"]);
        assert_eq!((rest.rate_factor, rest.weight_decay), (1.0, 0.3));
        assert_eq!((embedding.rate_factor, embedding.weight_decay), (0.1, 0.3));

        toy.config.train.decay_biases = false;
        let [rest, biases, embedding] = &groups(&toy.config, &model)[..] else {
            panic!("three groups")
        };
        assert_eq!(names(rest), [all[0], all[1], all[4]]);
        assert_eq!(names(biases), [all[2], all[3], all[5]]);
        assert_eq!((rest.weight_decay, biases.weight_decay), (0.3, 0.0));
        assert_eq!(biases.rate_factor, 1.0);
        assert_eq!(embedding.weight_decay, 0.3);
    }

    #[test]
    fn a_frozen_embedding_is_in_no_group() {
        let mut toy = Toy::new();
        toy.config.embedding.freeze = true;
        let model = prepare(&toy.config).unwrap().model;
        let groups = groups(&toy.config, &model);
        assert_eq!(groups.iter().map(|g| g.parameters.len()).sum::<usize>(), 6);
        assert!(names(&groups[2]).is_empty());
    }
}
