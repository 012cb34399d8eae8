//! How a layer's forward pass is cut into jobs: of some sequences and a direction; or of
//! some units of all sequences, where threads go through each step together; or of a whole
//! layer, where each thread has one.

use std::ops::Range;

use crate::job::{Job, JobMemory, SharedIo};
use crate::layer::LayerSizes;
use crate::memory::{LINE, SharedSlice};
use crate::packed::PackedDirection;
use crate::parallel::{run_steps, run_wavefront, shares, unit_parallelism, worth_a_wavefront};
use crate::plan::BatchPlan;
use crate::pool::Context;
use crate::scalar::Scalar;

/// About so many packed rows have their input's product at once: few enough that the sums
/// are still in the cache when their step comes.
pub(crate) const BLOCK: usize = 96;

/// Of layers that go behind each other: into so many blocks a call is cut, of so many
/// packed rows at least, whose product is as fast as one of more.
const WAVEFRONT_BLOCKS: usize = 32;
const LEAST_WAVEFRONT_BLOCK: usize = 4;

/// One layer's part of a call.
pub(crate) struct LayerSchedule<'a, T> {
    pub context: Context<'a>,
    pub plan: &'a BatchPlan,
    pub sizes: &'a LayerSizes,
    pub directions: &'a [PackedDirection<T>],
    pub shares: Vec<Range<usize>>,
    /// Parts of the units, see [`unit_parallelism`].
    pub parts: usize,
    /// How many packed rows have their input's product at once, about.
    pub block: usize,
    /// How many packed rows' sums a job has at once, at most.
    pub room: usize,
}

/// The memory of a job that saves nothing: rows of its own, from which a step reads what
/// the one before left.
pub(crate) struct Workspace<'a, T> {
    /// `[room][panels][4][lanes]`.
    pub sums: SharedSlice<'a, T>,
    /// `[share][hidden padded]`.
    pub cells: SharedSlice<'a, T>,
    /// What the steps read and leave, in turns, `[share][output padded]`.
    pub hidden: [SharedSlice<'a, T>; 2],
    /// The same with the recurrent mask, if there is one.
    pub read: Option<[SharedSlice<'a, T>; 2]>,
    /// What is projected, `[share][hidden padded]`.
    pub out: Option<SharedSlice<'a, T>>,
}

impl<'a, T: Scalar> LayerSchedule<'a, T> {
    pub fn new(
        context: Context<'a>,
        plan: &'a BatchPlan,
        sizes: &'a LayerSizes,
        directions: &'a [PackedDirection<T>],
    ) -> Self {
        let parts = unit_parallelism(context.threads(), plan, sizes);
        let shares = match parts {
            1 => shares(&context, plan, sizes),
            _ => plan.shares(1),
        };
        let most = shares.iter().map(Range::len).max().unwrap_or(0);
        LayerSchedule {
            context,
            plan,
            sizes,
            directions,
            room: BLOCK.max(most).min(plan.packed_rows()),
            shares,
            parts,
            block: BLOCK,
        }
    }

    pub fn jobs(&self) -> usize {
        self.directions.len() * self.shares.len()
    }

    /// What all directions put out for a packed row.
    pub fn width(&self) -> usize {
        self.sizes.directions * self.sizes.output()
    }

    /// Elements of what a job's [`Workspace`] has, in its order: sums, cells, hidden twice,
    /// what is read twice, what is projected.
    fn workspace_parts(&self, sequences: usize, masked: bool) -> [usize; 7] {
        let hidden = self.sizes.hidden_padded::<T>();
        let output = sequences * self.sizes.output_padded::<T>();
        let read = if masked { output } else { 0 };
        let out = if self.sizes.projected() {
            sequences * hidden
        } else {
            0
        };
        let sums = self.room * 4 * hidden;
        let parts = [sums, sequences * hidden, output, output, read, read, out];
        // Each begins a line.
        parts.map(|count| count.next_multiple_of(LINE / size_of::<T>()))
    }

    /// How many elements a job's memory has, whole lines.
    pub fn workspace_len(&self, masked: bool) -> usize {
        let sequences = self.shares.iter().map(Range::len).max().unwrap_or(0);
        self.workspace_parts(sequences, masked).iter().sum()
    }

    /// A job's memory in these elements.
    pub fn workspace(
        &self,
        sequences: usize,
        masked: bool,
        memory: SharedSlice<'a, T>,
    ) -> Workspace<'a, T> {
        let mut first = 0;
        let parts = self.workspace_parts(sequences, masked).map(|count| {
            let part = memory.part(first, count);
            first += count;
            part
        });
        let [sums, cells, hidden, hidden2, read, read2, out] = parts;
        Workspace {
            sums,
            cells,
            hidden: [hidden, hidden2],
            read: masked.then_some([read, read2]),
            out: self.sizes.projected().then_some(out),
        }
    }

    /// The jobs, the shares of a direction after those of the one before; `memory` gives
    /// each its own, from its direction and the number of its share.
    ///
    /// # Safety
    ///
    /// `io` and what `memory` gives are of this layer's sizes, and no two jobs have the same
    /// rows.
    pub unsafe fn cut<'j>(
        &'j self,
        io: &SharedIo<'j, T>,
        mut memory: impl FnMut(usize, usize, &Range<usize>) -> JobMemory<'j, T>,
    ) -> Vec<Job<'j, T>>
    where
        'a: 'j,
    {
        let mut jobs = Vec::with_capacity(self.jobs());
        for direction in 0..self.directions.len() {
            for (number, share) in self.shares.iter().enumerate() {
                let memory = memory(direction, number, share);
                let io = io.of_directions(direction, 1, self.plan, self.sizes);
                jobs.push(Job::new(self, direction, share.clone(), io, memory));
            }
        }
        jobs
    }

    /// Takes a layer from its first step to its last.
    ///
    /// # Safety
    ///
    /// The jobs are those of [`cut`](Self::cut), and nobody else uses what they write to.
    pub unsafe fn run(&self, jobs: &[Job<T>]) {
        run_steps(
            &self.context,
            jobs,
            self.parts,
            // SAFETY: each job has sequences and rows of its own.
            |job| unsafe { job.begin() },
            Job::steps,
            // SAFETY: each job has sequences and rows of its own, each part of one its
            // units, and a step begins when the one before is done.
            |job, step, part| unsafe { job.step(step, part) },
        );
    }
}

/// Whether layers are to go a block of steps behind each other, and if so cuts them into
/// blocks for that. Not those of two directions: the one back begins where the one forward
/// ends.
pub(crate) fn plan_wavefront<T: Scalar>(layers: &mut [LayerSchedule<T>]) -> bool {
    let is_one = |layer: &LayerSchedule<T>| layer.jobs() == 1 && layer.parts == 1;
    if layers.len() < 2 || !layers.iter().all(is_one) {
        return false;
    }
    let (context, plan) = (layers[0].context, layers[0].plan);
    if !worth_a_wavefront(&context, plan, layers.iter().map(|layer| layer.sizes)) {
        return false;
    }
    let block = (plan.packed_rows() / WAVEFRONT_BLOCKS).clamp(LEAST_WAVEFRONT_BLOCK, BLOCK);
    layers.iter_mut().for_each(|layer| layer.block = block);
    true
}

/// Takes layers of a job each through their steps: while one reads a block of steps, the
/// one above reads what it put out for the block before.
///
/// # Safety
///
/// Each job has rows of its own, reads what the one before it puts out, and nobody else
/// uses what they write to.
pub(crate) unsafe fn run_layers_as_wavefront<T: Scalar>(context: &Context, jobs: &[Job<T>]) {
    let blocks = jobs[0].distinct_blocks();
    for job in jobs {
        // SAFETY: no thread has begun yet.
        unsafe { job.begin() };
    }
    run_wavefront(context, jobs.len(), blocks.len(), |layer, block| {
        let job = &jobs[layer];
        for step in blocks[block].clone() {
            // SAFETY: the rows are the job's own, and the inputs of a block were put out in
            // an earlier stage.
            unsafe { job.step(step, 0) };
        }
    });
}
