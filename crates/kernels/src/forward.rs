//! The forward pass through a layer in training.

use std::ops::Range;

use crate::error::{ShapeError, expect_count, expect_elements, product};
use crate::job::{JobMemory, JobRows, SavedRows, SharedIo, Sums};
use crate::layer::{LayerSizes, LayerWeights, States, StatesMut};
use crate::memory::{Buffer, SharedSlice};
use crate::packed::{PackedDirection, WeightStorage};
use crate::plan::BatchPlan;
use crate::pool::Context;
use crate::saved::{DropoutMasks, MaskBuffers, PackedMasks, SavePolicy, SavedBuffers};
use crate::scalar::Scalar;
use crate::schedule::LayerSchedule;
use crate::views::{Sequence, SequenceMut};

/// What a forward pass reads and where its results go.
#[derive(Debug)]
pub struct LayerIo<'a, T> {
    /// The input, `[T, B, I]`; nothing behind a sequence's end is read.
    pub input: Sequence<'a, T>,
    /// The initial states, `[L*D, B, P]` and `[L*D, B, H]`; none: zeros.
    pub start: Option<States<'a, T>>,
    /// The output, `[T, B, D*P]`; zeros are written behind a sequence's end.
    pub output: SequenceMut<'a, T>,
    /// The final states, shaped as the initial ones; those of a sequence without steps are
    /// its initial ones.
    pub end: StatesMut<'a, T>,
}

impl<'a, T: Scalar> LayerIo<'a, T> {
    /// Checks shapes against layers whose first one has size `first` and whose last one
    /// `last`.
    pub(crate) fn check(
        &self,
        plan: &BatchPlan,
        layers: usize,
        first: &LayerSizes,
        last: &LayerSizes,
    ) -> Result<(), ShapeError> {
        let (time, batch) = (plan.time, plan.batch());
        self.input.expect("input", [time, batch, first.input])?;
        let width = last.directions * last.output();
        self.output.expect("output", [time, batch, width])?;
        let rows = layers * last.directions;
        if let Some(start) = &self.start {
            expect_elements("initial h", start.h, &[rows, batch, last.output()])?;
            expect_elements("initial c", start.c, &[rows, batch, last.hidden])?;
        }
        expect_elements("final h", self.end.h, &[rows, batch, last.output()])?;
        expect_elements("final c", self.end.c, &[rows, batch, last.hidden])
    }

    pub(crate) fn shared(self) -> SharedIo<'a, T> {
        SharedIo {
            input: self.input.shared(),
            output: self.output.shared(),
            clears_padding: true,
            // SAFETY: the initial states are only read.
            start: self.start.map(|start| unsafe {
                (
                    SharedSlice::read_only(start.h),
                    SharedSlice::read_only(start.c),
                )
            }),
            end: (SharedSlice::new(self.end.h), SharedSlice::new(self.end.c)),
        }
    }
}

/// A forward pass through a layer, which packs its weights for the call.
///
/// ```
/// use cellway_kernels::{
///     BatchPlan, Context, Forward, HeapAllocator, LayerIo, LayerSizes, LayerWeights, SavePolicy,
///     Sequence, SequenceMut, SingleThread, StatesMut,
/// };
///
/// let sizes = LayerSizes { input: 1, hidden: 2, projection: None, bias: false, directions: 1 };
/// let plan = BatchPlan::new(&[3], 3)?; // a sequence of three steps
/// let (ih, hh) = ([0.5f32; 8], [0.1; 16]);
/// let (mut output, mut h, mut c) = ([0.0; 6], [0.0; 2], [0.0; 2]);
/// Forward {
///     plan: &plan,
///     sizes,
///     weights: &[LayerWeights { ih: &ih, hh: &hh, bias: None, hr: None }],
///     masks: &[],
///     io: LayerIo {
///         input: Sequence::contiguous(&[1.0, 2.0, 3.0], [3, 1, 1])?,
///         start: None,
///         output: SequenceMut::contiguous(&mut output, [3, 1, 2])?,
///         end: StatesMut { h: &mut h, c: &mut c },
///     },
///     save: SavePolicy::Nothing,
/// }
/// .run(&Context { pool: &SingleThread, allocator: &HeapAllocator })?;
/// assert_eq!(output[4..], h);
/// # Ok::<(), cellway_kernels::ShapeError>(())
/// ```
#[derive(Debug)]
pub struct Forward<'a, T> {
    /// The lengths of the sequences.
    pub plan: &'a BatchPlan,
    /// The sizes of the layer.
    pub sizes: LayerSizes,
    /// The parameters of each direction.
    pub weights: &'a [LayerWeights<'a, T>],
    /// The masks of each direction, or nothing.
    pub masks: &'a [DropoutMasks<'a, T>],
    /// Input, output and states of this layer, with `L = 1`.
    pub io: LayerIo<'a, T>,
    /// What is saved for the backward pass.
    pub save: SavePolicy,
}

impl<T: Scalar> Forward<'_, T> {
    /// Runs the pass, and gives each direction's saved activations; none if nothing is
    /// saved.
    ///
    /// # Errors
    ///
    /// If a length, shape or number of elements does not fit.
    pub fn run(self, context: &Context) -> Result<Vec<SavedBuffers<T>>, ShapeError> {
        let (plan, sizes) = (self.plan, self.sizes);
        LayerWeights::check_all(self.weights, &sizes)?;
        self.io.check(plan, 1, &sizes, &sizes)?;
        if !self.masks.is_empty() {
            expect_count("masks of directions", self.masks.len(), sizes.directions)?;
        }
        for masks in self.masks {
            masks.check(plan, &sizes)?;
        }
        let states = plan.packed_rows() + plan.batch();
        product(&[states, 4, sizes.hidden_padded::<T>()])?;

        let directions: Vec<_> = (self.weights.iter())
            .map(|weights| PackedDirection::new(context, weights, &sizes, WeightStorage::Same))
            .collect();
        let schedule = LayerSchedule::new(*context, plan, &sizes, &directions);
        let none = DropoutMasks::default();
        let masks = (0..sizes.directions).map(|direction| {
            let masks = self.masks.get(direction).unwrap_or(&none);
            MaskBuffers::new(context.allocator, masks, plan, &sizes, direction == 1)
        });
        let from_zeros: Vec<bool> = (0..sizes.directions)
            .map(|direction| match &self.io.start {
                None => true,
                Some(start) => {
                    let count = plan.batch() * sizes.output();
                    let start = &start.h[direction * count..][..count];
                    start.iter().all(|&h| h == T::default())
                }
            })
            .collect();
        let io = self.io.shared();
        if self.save == SavePolicy::Nothing {
            run_without_saving(&schedule, &io, &masks.collect::<Vec<_>>(), &from_zeros);
            return Ok(Vec::new());
        }
        let mut saved: Vec<_> = masks
            .map(|masks| SavedBuffers::new(&schedule, self.save, masks))
            .collect();
        let block_len = schedule.room * 4 * sizes.hidden_padded::<T>();
        let block_lens = match self.save {
            SavePolicy::All => 0,
            _ => schedule.jobs() * block_len,
        };
        let mut blocks = Buffer::uninit(context.allocator, block_lens);
        let blocks = blocks.shared();
        let rows: Vec<_> = saved.iter_mut().map(SavedBuffers::rows).collect();
        let of_job = |direction: usize, number: usize, _: &Range<usize>| {
            let (mut rows, masks) = rows[direction];
            let from_zeros = from_zeros[direction];
            if self.save == SavePolicy::States {
                let job = direction * schedule.shares.len() + number;
                rows.sums = Sums::Block(blocks.part(job * block_len, block_len));
            }
            JobMemory {
                rows: JobRows::Saved(rows),
                masks,
                from_zeros,
            }
        };
        // SAFETY: everything was checked or made for these sizes; a job's rows are those of
        // its sequences in its direction, and its block is its own.
        unsafe {
            let jobs = schedule.cut(&io, of_job);
            schedule.run(&jobs);
        }
        Ok(saved)
    }
}

/// Steps in memory that is used again, for a call without a backward pass.
fn run_without_saving<T: Scalar>(
    schedule: &LayerSchedule<T>,
    io: &SharedIo<T>,
    masks: &[MaskBuffers<T>],
    from_zeros: &[bool],
) {
    let masks: Vec<PackedMasks<T>> = masks.iter().map(MaskBuffers::view).collect();
    let masked = masks.iter().any(|masks| !masks.recurrent.is_empty());
    let len = schedule.workspace_len(masked);
    let mut memory = Buffer::uninit(schedule.context.allocator, schedule.jobs() * len);
    let memory = memory.shared();
    let of_job = |direction: usize, number: usize, share: &Range<usize>| {
        let job = direction * schedule.shares.len() + number;
        let own = schedule.workspace(share.len(), masked, memory.part(job * len, len));
        JobMemory {
            rows: JobRows::Workspace(own),
            masks: masks[direction],
            from_zeros: from_zeros[direction],
        }
    };
    // SAFETY: the caller has checked the sizes; each job has memory of its own.
    unsafe {
        let jobs = schedule.cut(io, of_job);
        schedule.run(&jobs);
    }
}

impl<T: Scalar> SavedBuffers<T> {
    fn new(schedule: &LayerSchedule<T>, save: SavePolicy, masks: MaskBuffers<T>) -> Self {
        let (plan, sizes) = (schedule.plan, schedule.sizes);
        let hidden_padded = sizes.hidden_padded::<T>();
        let output_padded = sizes.output_padded::<T>();
        let (rows, states) = (plan.packed_rows(), plan.packed_rows() + plan.batch());
        let buffer = |rows: usize, width: usize, there: bool| {
            let len = if there { rows * width } else { 0 };
            Buffer::uninit(schedule.context.allocator, len)
        };
        let all = save == SavePolicy::All;
        let masked = !masks.view().recurrent.is_empty();
        SavedBuffers {
            gates: buffer(rows, 4 * hidden_padded, all),
            cells: buffer(states, hidden_padded, true),
            tanh: buffer(rows, hidden_padded, all),
            hidden: buffer(states, output_padded, true),
            read: buffer(states, output_padded, masked),
            out: buffer(rows, hidden_padded, sizes.projected()),
            masks,
        }
    }

    fn rows(&mut self) -> (SavedRows<'_, T>, PackedMasks<'_, T>) {
        fn some<T: Scalar>(buffer: &mut Buffer<T>) -> Option<SharedSlice<'_, T>> {
            (!buffer.is_empty()).then(|| buffer.shared())
        }
        let rows = SavedRows {
            sums: Sums::Gates(self.gates.shared()),
            cells: self.cells.shared(),
            tanh: some(&mut self.tanh),
            hidden: self.hidden.shared(),
            read: some(&mut self.read),
            out: some(&mut self.out),
        };
        (rows, self.masks.view())
    }
}
