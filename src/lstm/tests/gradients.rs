//! Gradients against differences of the loss itself, in f64: no other
//! implementation takes part, only the meaning of a derivative.

use std::io::Write;

use tch::{Kind, Tensor};

use super::*;

/// Along each of these: a central difference is off by about `step² f'''/6` from
/// the curve and by `ε f / step` from rounding. Both are least together near
/// `ε^(1/3)` = 2^-17.3, and a power of two makes the step itself exact.
const STEP: f64 = 1.0 / (1 << 17) as f64;

/// The largest relative error of a derivative.
const BOUND: f64 = 1e-6;

/// A derivative below this is measured by its absolute error. The losses here
/// have the size of 10, and rounding leaves some `10 ε / STEP` = 3e-10 in a
/// difference, whatever the derivative is: a third of [`BOUND`] of this.
const FLOOR: f64 = 1e-3;

/// A scalar function of tensors, and where its gradient is checked.
struct Subject<'a> {
    name: String,
    names: Vec<String>,
    values: Vec<Tensor>,
    loss: &'a dyn Fn(&[Tensor]) -> Tensor,
}

impl Subject<'_> {
    /// By autograd, in the shapes of the values.
    fn gradients(&self) -> Vec<Tensor> {
        let leaf = |value: &Tensor| value.copy().set_requires_grad(true);
        let leaves: Vec<Tensor> = self.values.iter().map(leaf).collect();
        (self.loss)(&leaves).backward();
        let gradient = |leaf: &Tensor| match leaf.grad() {
            gradient if gradient.defined() => gradient,
            _ => leaf.zeros_like(),
        };
        leaves.iter().map(gradient).collect()
    }

    /// The derivative along `direction`: a change for some of the values, by their
    /// numbers.
    fn difference(&self, direction: &[(usize, Tensor)]) -> f64 {
        let _no_grad = tch::no_grad_guard();
        let at = |step: f64| {
            let mut moved: Vec<Tensor> = self.values.iter().map(Tensor::shallow_clone).collect();
            for (n, change) in direction {
                moved[*n] = &moved[*n] + change * step;
            }
            (self.loss)(&moved).double_value(&[])
        };
        (at(STEP) - at(-STEP)) / (2.0 * STEP)
    }

    /// Checks `most` elements of each value, and one direction through them all.
    fn check(&self, most: u64, stream: Stream, worst: &mut Worst) {
        let gradients = self.gradients();
        let mut all = Vec::new();
        for (n, gradient) in gradients.iter().enumerate() {
            let stream = stream.at(n as u64);
            all.push((n, random::normal(&gradient.size(), stream)));
            let count = gradient.numel() as u64;
            for k in 0..most.min(count) {
                let element = match count <= most {
                    true => k,
                    false => (stream.at(1).uniform(k) * count as f64) as u64,
                } as i64;
                let change = gradient.zeros_like();
                let _ = change.view(-1).get(element).fill_(1.0);
                let exact = gradient.contiguous().view(-1).double_value(&[element]);
                let place = || format!("{}[{element}] of {}", self.names[n], self.name);
                worst.note(self.difference(&[(n, change)]), exact, place);
            }
        }
        let product = |(n, v): &(usize, Tensor)| (v * &gradients[*n]).sum(Kind::Double);
        let along: f64 = all.iter().map(|v| product(v).double_value(&[])).sum();
        let square = |(_, v): &(usize, Tensor)| v.square().sum(Kind::Double).double_value(&[]);
        let length = all.iter().map(square).sum::<f64>().sqrt();
        let unit: Vec<_> = all.iter().map(|(n, v)| (*n, v / length)).collect();
        let place = || format!("all of {}", self.name);
        worst.note(self.difference(&unit), along / length, place);
    }
}

/// The worst of many derivatives.
#[derive(Default)]
struct Worst {
    count: usize,
    error: f64,
    place: String,
}

impl Worst {
    fn note(&mut self, difference: f64, exact: f64, place: impl Fn() -> String) {
        let size = difference.abs().max(exact.abs()).max(FLOOR);
        let error = (difference - exact).abs() / size;
        self.count += 1;
        if error.is_nan() || error > self.error {
            self.error = if error.is_nan() { f64::INFINITY } else { error };
            self.place = format!("{}: {difference:e} against {exact:e}", place());
        }
    }

    /// Not with println: this is shown where the test passes, too.
    fn check(&self, what: &str) {
        let Worst {
            count,
            error,
            place,
        } = self;
        let line = format!(
            "{what}: {count} derivatives, worst error {error:.1e} (bound {BOUND:.0e}) at {place}"
        );
        let _ = writeln!(std::io::stderr(), "{line}");
        assert!(*count > 0 && *error < BOUND, "{line}");
    }
}

/// An LSTM, a call, and the weights of the loss.
struct Case {
    config: LstmConfig,
    lengths: Option<Vec<i64>>,
    /// `y`, `h_n`, `c_n`.
    weights: [Tensor; 3],
    /// `x`, then `h0` and `c0` if the call gives a state, then every parameter.
    names: Vec<String>,
    values: Vec<Tensor>,
}

impl Case {
    fn random(stream: Stream) -> Case {
        let named = |name: &str| Stream::new(stream.seed(), name);
        let draw = |name: &str, low: i64, high: i64| {
            low + (named(name).uniform(0) * (high - low + 1) as f64) as i64
        };
        let yes = |name: &str| draw(name, 0, 1) == 1;
        let hidden = draw("hidden", 1, 6);
        let config = LstmConfig {
            num_layers: draw("layers", 1, 3),
            bias: yes("bias"),
            batch_first: yes("batch first"),
            bidirectional: yes("bidirectional"),
            proj_size: if yes("projection") {
                draw("size", 0, hidden - 1)
            } else {
                0
            },
            ..LstmConfig::new(draw("input", 1, 6), hidden)
        };
        let (time, batch) = (draw("time", 1, 6), draw("batch", 1, 3));
        let length = |n: i64| draw(&format!("length {n}"), 0, time);
        let lengths = yes("ragged").then(|| (0..batch).map(length).collect());

        let shaped = |features| match config.batch_first {
            true => [batch, time, features],
            false => [time, batch, features],
        };
        let rows = config.num_layers * config.directions();
        let h = [rows, batch, config.output_size()];
        let c = [rows, batch, config.hidden_size];
        let both = config.directions() * config.output_size();
        let weights = [("y", shaped(both)), ("h_n", h), ("c_n", c)]
            .map(|(name, shape)| random::normal(&shape, named(name)));
        let mut tensors = vec![(
            "x".to_owned(),
            random::normal(&shaped(config.input_size), named("x")),
        )];
        if yes("state") {
            tensors.push(("h0".to_owned(), random::normal(&h, named("h0")) * 0.5));
            tensors.push(("c0".to_owned(), random::normal(&c, named("c0")) * 0.5));
        }
        let start = Lstm::new(config.clone(), Init::default(), named("parameters")).unwrap();
        for (name, parameter) in start.parameters() {
            tensors.push((name, parameter.detach().to_kind(Kind::Double)));
        }
        let (names, values) = tensors.into_iter().unzip();
        Case {
            config,
            lengths,
            weights,
            names,
            values,
        }
    }

    fn loss(&self, engine: Engine, values: &[Tensor]) -> Tensor {
        let get = |name: &str| {
            let found = self.names.iter().position(|other| other == name);
            found.map(|n| values[n].shallow_clone())
        };
        let lstm = Lstm::from_tensors(self.config.clone(), |name| Ok(get(name).unwrap())).unwrap();
        let start = get("h0").zip(get("c0")).map(|(h, c)| State { h, c });
        let call = Call {
            lengths: self.lengths.as_deref(),
            state: start.as_ref(),
            engine,
            ..Call::default()
        };
        let out = lstm.forward(&values[0], &call).unwrap();
        weighted(&self.weights, &[&out.output, &out.state.h, &out.state.c])
    }
}

/// The sum of all, each element with its weight.
fn weighted(weights: &[Tensor], tensors: &[&Tensor]) -> Tensor {
    let sum = |(weight, tensor): (&Tensor, &&Tensor)| (weight * *tensor).sum(Kind::Double);
    weights.iter().zip(tensors).map(sum).sum()
}

#[test]
fn the_step_has_the_gradients_of_its_equations() {
    let mut worst = Worst::default();
    for number in 0..100 {
        let stream = Stream::new(1, "step").at(number);
        let draw = |n: u64, low: i64, high: i64| {
            low + (stream.uniform(n) * (high - low + 1) as f64) as i64
        };
        let hidden = draw(0, 1, 6);
        let config = LstmConfig {
            bias: draw(1, 0, 1) == 1,
            proj_size: draw(2, 0, hidden - 1),
            ..LstmConfig::new(draw(3, 1, 6), hidden)
        };
        let (batch, width) = (draw(4, 1, 3), config.output_size());
        let shapes = [[batch, config.input_size], [batch, width], [batch, hidden]];
        let mut values: Vec<Tensor> = (1..)
            .zip(shapes)
            .map(|(n, shape)| random::normal(&shape, stream.at(n)))
            .collect();
        let params = Init::default().cell(&config, 0, false, stream).unwrap();
        let mut names: Vec<String> = ["x", "h", "c"].map(str::to_owned).into();
        for (name, parameter) in params.named(0, false) {
            names.push(name);
            values.push(parameter.shallow_clone());
        }
        let weights: Vec<Tensor> = (10..16)
            .map(|n| random::normal(&[batch, if n == 15 { width } else { hidden }], stream.at(n)))
            .collect();
        let loss = |values: &[Tensor]| {
            let mut given = names.iter().zip(values).skip(3);
            let params = CellParams::collect(&config, 0, false, |name, _| {
                let (expected, value) = given.next().unwrap();
                assert_eq!(name, expected);
                Ok(value.shallow_clone())
            });
            let step = cell::step(&values[0], &values[1], &values[2], &params.unwrap());
            weighted(
                &weights,
                &[&step.i, &step.f, &step.g, &step.o, &step.c, &step.h],
            )
        };
        let subject = Subject {
            name: format!("case {number}, B {batch}, {config:?}"),
            names: names.clone(),
            values,
            loss: &loss,
        };
        // All of them: a weight has 4 * 6 * 6 elements at the most.
        subject.check(144, stream.at(20), &mut worst);
    }
    worst.check("cell::step");
}

#[test]
fn the_engines_have_the_gradients_of_their_loss() {
    let mut worst = ENGINES.map(|_| Worst::default());
    for number in 0..200 {
        let stream = Stream::new(2, "gradients").at(number);
        let case = Case::random(stream);
        for (engine, worst) in ENGINES.into_iter().zip(&mut worst) {
            let subject = Subject {
                name: format!(
                    "case {number}, lengths {:?}, {:?}",
                    case.lengths, case.config
                ),
                names: case.names.clone(),
                values: case.values.iter().map(Tensor::shallow_clone).collect(),
                loss: &|values| case.loss(engine, values),
            };
            subject.check(3, stream.at(1), worst);
        }
    }
    for (engine, worst) in ENGINES.into_iter().zip(&worst) {
        worst.check(&format!("{engine:?} engine"));
    }
}
