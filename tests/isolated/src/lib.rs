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
    /// What the sizes of layers are made from.
    pub(crate) struct LstmConfig {
        pub input_size: i64,
        pub hidden_size: i64,
        pub proj_size: i64,
        pub bias: bool,
        pub bidirectional: bool,
    }

    impl LstmConfig {
        pub fn layer_input_size(&self, layer: i64) -> i64 {
            match layer {
                0 => self.input_size,
                _ => self.directions() * self.output_size(),
            }
        }
        pub fn output_size(&self) -> i64 {
            match self.proj_size {
                0 => self.hidden_size,
                size => size,
            }
        }
        pub fn directions(&self) -> i64 {
            1 + i64::from(self.bidirectional)
        }
    }

    pub(crate) struct CellParams {
        pub w_ih: tch::Tensor,
        pub w_hh: tch::Tensor,
        pub b_ih: Option<tch::Tensor>,
        pub b_hh: Option<tch::Tensor>,
        pub w_hr: Option<tch::Tensor>,
    }

    mod native {
        #[path = "../../../../../src/lstm/native/activation.rs"]
        mod activation;
        #[path = "../../../../../src/lstm/native/again.rs"]
        mod again;
        #[path = "../../../../../src/lstm/native/backward.rs"]
        mod backward;
        #[path = "../../../../../src/lstm/native/buffer.rs"]
        mod buffer;
        mod check;
        #[path = "../../../../../src/lstm/native/equations.rs"]
        mod equations;
        #[path = "../../../../../src/lstm/native/forward.rs"]
        mod forward;
        #[path = "../../../../../src/lstm/native/frozen.rs"]
        mod frozen;
        #[path = "../../../../../src/lstm/native/gates.rs"]
        mod gates;
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
        #[path = "../../../../../src/lstm/native/reading.rs"]
        mod reading;
        #[path = "../../../../../src/lstm/native/step.rs"]
        mod step;
        #[path = "../../../../../src/lstm/native/threads.rs"]
        mod threads;
        #[path = "../../../../../src/lstm/native/tile.rs"]
        mod tile;
        #[path = "../../../../../src/lstm/native/weights.rs"]
        mod weights;
    }
}
