//! The loops of the native engine without libtorch, for tools that it is too much for:
//! Miri, the sanitizers with every register, an emulator of another machine. The
//! sources are those of the engine; what they ask of libtorch is in `tch/`.
#![cfg(test)]

mod runtime {
    pub(crate) fn scratch(count: usize, kind: tch::Kind) -> tch::Tensor {
        tch::Tensor::empty([count as i64], (kind, tch::Device::Cpu))
    }
}

mod shim {
    /// A thread for each number, so that tools see every race that could be.
    pub(crate) fn in_parallel<W: Fn(usize) + Sync>(count: usize, work: W) {
        std::thread::scope(|scope| {
            for number in 0..count {
                let work = &work;
                scope.spawn(move || work(number));
            }
        });
    }
}

#[allow(dead_code)]
mod lstm {
    /// What the sizes of a layer are made from; the tests say the sizes themselves.
    pub(crate) struct LstmConfig {
        pub hidden_size: i64,
        pub proj_size: i64,
        pub bias: bool,
    }

    impl LstmConfig {
        pub fn layer_input_size(&self, _: i64) -> i64 {
            unimplemented!()
        }
        pub fn output_size(&self) -> i64 {
            unimplemented!()
        }
        pub fn directions(&self) -> i64 {
            unimplemented!()
        }
    }

    mod native {
        #[path = "../../../../../src/lstm/native/activation.rs"]
        mod activation;
        #[path = "../../../../../src/lstm/native/again.rs"]
        mod again;
        #[path = "../../../../../src/lstm/native/backward.rs"]
        mod backward;
        mod check;
        #[path = "../../../../../src/lstm/native/forward.rs"]
        mod forward;
        #[path = "../../../../../src/lstm/native/gradients.rs"]
        mod gradients;
        #[path = "../../../../../src/lstm/native/half.rs"]
        mod half;
        #[path = "../../../../../src/lstm/native/isa.rs"]
        mod isa;
        #[path = "../../../../../src/lstm/native/lanes.rs"]
        mod lanes;
        #[path = "../../../../../src/lstm/native/layer.rs"]
        mod layer;
        #[path = "../../../../../src/lstm/native/packed.rs"]
        mod packed;
        #[path = "../../../../../src/lstm/native/plan.rs"]
        mod plan;
        #[path = "../../../../../src/lstm/native/product.rs"]
        mod product;
        #[path = "../../../../../src/lstm/native/step.rs"]
        mod step;
        #[path = "../../../../../src/lstm/native/threads.rs"]
        mod threads;
    }
}
