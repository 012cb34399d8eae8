//! Where the native engine reads: buffers that end at a page which nobody may touch, inputs
//! that lie in memory in odd ways, and many threads that call at once.

use nix::libc;
use tch::{Device, Kind, Tensor};

use crate::lstm::{Call, Engine, Init, Lstm, LstmConfig, State};
use crate::random::{self, Stream};

/// No page is larger anywhere that this runs.
const PAGE: usize = 64 << 10;

/// Memory between two pages that nobody may touch.
struct Guarded {
    start: *mut libc::c_void,
    bytes: usize,
}

impl Guarded {
    /// What stands in the tensor, directly in front of the page behind, or directly
    /// behind the page in front.
    fn copy(tensor: &Tensor, in_front: bool) -> (Tensor, Guarded) {
        let tensor = tensor.detach().contiguous();
        let size = if tensor.kind() == Kind::Double { 8 } else { 4 };
        let bytes = tensor.numel() * size;
        let inside = bytes.next_multiple_of(PAGE);
        let guarded = Guarded {
            start: std::ptr::null_mut(),
            bytes: inside + 2 * PAGE,
        };
        // SAFETY: new memory, of which all but the first and last page is opened; the
        // tensor lies in it, and is dropped before.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let null = std::ptr::null_mut();
            let start = libc::mmap(null, guarded.bytes, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(start, libc::MAP_FAILED);
            let first = start.cast::<u8>().add(PAGE);
            let open = libc::PROT_READ | libc::PROT_WRITE;
            assert_eq!(libc::mprotect(first.cast(), inside, open), 0);
            let at = first.add(if in_front { inside - bytes } else { 0 });
            let stride = tensor.stride();
            let kind = tensor.kind();
            let mut copy = Tensor::from_blob(at, &tensor.size(), &stride, kind, Device::Cpu);
            copy.copy_(&tensor);
            (copy, Guarded { start, ..guarded })
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: it is ours, and no tensor lies in it any more.
        unsafe { libc::munmap(self.start, self.bytes) };
    }
}

/// Outputs, states, and all gradients; with `guarded` of memory that ends at a page,
/// or begins at one, that nobody may touch.
fn everything(config: &LstmConfig, kind: Kind, guarded: Option<bool>) -> Vec<Tensor> {
    // First, so that it goes last.
    let memory = std::cell::RefCell::new(Vec::new());
    let mut lstm = Lstm::new(config.clone(), Init::default(), Stream::new(1, "t")).unwrap();
    let leaf = |tensor: &Tensor| {
        let tensor = tensor.detach().to_kind(kind);
        let place = match guarded {
            None => tensor,
            Some(in_front) => {
                let (copy, guard) = Guarded::copy(&tensor, in_front);
                memory.borrow_mut().push(guard);
                copy
            }
        };
        place.set_requires_grad(true)
    };
    lstm.map(leaf);
    let (batch, time) = (5, 4);
    let normal = |shape: &[i64], seed| leaf(&random::normal(shape, Stream::new(seed, "t")));
    let x = normal(&[batch, time, config.input_size], 2);
    let rows = config.num_layers * config.directions();
    let start = State {
        h: normal(&[rows, batch, config.output_size()], 3),
        c: normal(&[rows, batch, config.hidden_size], 4),
    };
    let call = Call {
        lengths: Some(&[4, 1, 3, 0, 4]),
        state: Some(&start),
        engine: Engine::Native,
        ..Call::default()
    };
    let bare = tch::no_grad(|| lstm.forward(&x, &call).unwrap());
    let out = lstm.forward(&x, &call).unwrap();
    let loss = out.output.square().sum(kind) + out.state.c.sum(kind);
    let mut of = vec![&x, &start.h, &start.c];
    of.extend(lstm.parameters().into_iter().map(|(_, tensor)| tensor));
    let mut all = Tensor::run_backward(&[loss], &of, false, false);
    all.extend([out.output, out.state.h, out.state.c]);
    all.extend([bare.output, bare.state.h, bare.state.c]);
    all.iter().map(|tensor| tensor.detach().copy()).collect()
}

#[test]
fn nothing_is_read_beside_the_buffers() {
    for (input, hidden, projection) in [(1, 1, 0), (5, 3, 0), (5, 17, 3), (1, 31, 17), (16, 16, 0)]
    {
        for (bidirectional, kind) in [(false, Kind::Float), (true, Kind::Double)] {
            let config = LstmConfig {
                proj_size: projection,
                bidirectional,
                ..LstmConfig::new(input, hidden)
            };
            let expected = everything(&config, kind, None);
            for in_front in [true, false] {
                let all = everything(&config, kind, Some(in_front));
                assert!(expected.iter().zip(&all).all(|(a, b)| a.equal(b)));
            }
        }
    }
}

/// Windows that overlap, the same text or step many times, parts of wider rows.
#[test]
fn an_input_may_lie_in_any_way() {
    type View = fn(&Tensor) -> Tensor;
    // Each from [4, 9] to [B, T, 6].
    let views: [(&str, View); 7] = [
        ("windows", |x| x.unfold(1, 6, 1)),
        ("windows of one text", |x| x.view([1, 36]).unfold(1, 6, 1)),
        ("windows, texts in between", |x| {
            x.view([36]).unfold(0, 6, 1).narrow(0, 0, 4).unsqueeze(1)
        }),
        ("wide windows", |x| x.unfold(1, 6, 2)),
        ("one text, often", |x| {
            x.view([1, 6, 6]).expand([3, 6, 6], false)
        }),
        ("one step, often", |x| {
            x.narrow(1, 0, 6).unsqueeze(1).expand([4, 5, 6], false)
        }),
        ("one number, often", |x| {
            x.unsqueeze(2).expand([4, 9, 6], false)
        }),
    ];
    let config = LstmConfig::new(6, 5);
    let mut lstm = Lstm::new(config, Init::default(), Stream::new(1, "t")).unwrap();
    lstm.map(|tensor| tensor.to_kind(Kind::Double));
    for (name, view) in views {
        let all = [Engine::Plain, Engine::Native].map(|engine| {
            let x = random::normal(&[4, 9], Stream::new(2, "t")).to_kind(Kind::Double);
            let x = x.set_requires_grad(true);
            let call = Call {
                engine,
                ..Call::default()
            };
            let output = lstm.forward(&view(&x), &call).unwrap().output;
            let loss = output.square().sum(Kind::Double);
            let mut all = Tensor::run_backward(&[loss], &[&x], false, false);
            all.push(output);
            all
        });
        for (a, b) in all[0].iter().zip(&all[1]) {
            let apart = (a - b).abs().max().double_value(&[]);
            assert!(apart < 1e-13, "{name} {apart:e}");
        }
    }
}

#[test]
fn many_threads_may_call_at_once() {
    let config = LstmConfig {
        bidirectional: true,
        ..LstmConfig::new(60, 70)
    };
    let run = || {
        let lstm = Lstm::new(config.clone(), Init::default(), Stream::new(1, "t")).unwrap();
        let x = random::normal(&[24, 30, 60], Stream::new(2, "t")).to_kind(Kind::Float);
        let lengths: Vec<i64> = (0..24).map(|text| text * 11 % 31).collect();
        let call = Call {
            lengths: Some(&lengths),
            engine: Engine::Native,
            ..Call::default()
        };
        let out = lstm.forward(&x, &call).unwrap();
        let loss = out.output.square().sum(Kind::Float) + out.state.c.sum(Kind::Float);
        let of: Vec<&Tensor> = lstm.parameters().into_iter().map(|(_, x)| x).collect();
        let mut all = Tensor::run_backward(&[loss], &of, false, false);
        all.extend([out.output, out.state.h, out.state.c]);
        let vectors = all
            .iter()
            .map(|x| Vec::<f32>::try_from(x.reshape([-1])).unwrap());
        vectors.flatten().map(f32::to_bits).collect::<Vec<u32>>()
    };
    let expected = run();
    let threads = tch::get_num_threads();
    for count in [1, 2] {
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    tch::set_num_threads(count);
                    for _ in 0..4 {
                        assert!(run() == expected, "{count}");
                    }
                });
            }
        });
    }
    tch::set_num_threads(threads);
}
