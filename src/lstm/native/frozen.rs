//! Layers whose weights are packed once, for calls without a way back.

use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

use tch::Tensor;

use super::buffer::{Buffer, Ptr};
use super::half::Halve;
use super::layer::{Sequence, Sizes};
use super::packed::Packed;
use super::plan::Plan;
use super::product::Panels;
use super::reading::{Place, Work, run_behind};
use crate::lstm::{CellParams, LstmConfig};

/// All layers, as they were when they were packed.
pub(crate) struct Layers<T> {
    layers: Vec<Layer>,
    /// Memory of calls that are over, for those to come.
    pool: Mutex<Vec<Scratch>>,
    number: PhantomData<T>,
}

pub(super) struct Layer {
    pub sizes: Sizes,
    pub directions: Vec<Direction>,
}

pub(super) struct Direction {
    pub ih: Packed,
    pub hh: Packed,
    pub hr: Option<Panels>,
    /// `[panels][4][lanes]`.
    pub bias: Buffer,
}

// SAFETY: nobody changes what it holds, and its places are found without a race.
unsafe impl Sync for Direction {}
// SAFETY: as above; it owns what its pointers lead to.
unsafe impl Send for Direction {}

/// The memory of one call.
#[derive(Default)]
struct Scratch {
    lines: Vec<Line>,
}

/// As much as a cache line, and as the widest register.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

pub(super) const LINE: usize = 64;

/// What a call reads and where its results go.
pub(crate) struct Read<'a> {
    /// `[T, B, I]`, or with the batch outside of the time.
    pub input: &'a Tensor,
    pub batch_first: bool,
    pub lengths: &'a [usize],
    pub time: usize,
    /// The initial states, contiguous; without any zeros.
    pub start: Option<(&'a Tensor, &'a Tensor)>,
    /// As the input, zeros where nothing is written.
    pub output: &'a Tensor,
    /// `[L*D, B, P]` and `[L*D, B, H]`, contiguous.
    pub end: (&'a Tensor, &'a Tensor),
}

impl<T: Halve> Layers<T> {
    /// Of parameters in this dtype on the CPU.
    pub fn new(config: &LstmConfig, cells: &[Vec<CellParams>], half: bool) -> Self {
        let _no_grad = tch::no_grad_guard();
        let layers = cells.iter().zip(0..).map(|(cells, number)| {
            let sizes = Sizes::of(config, number);
            let directions = cells.iter();
            Layer {
                sizes,
                directions: directions
                    .map(|cell| Direction::new::<T>(cell, &sizes, half))
                    .collect(),
            }
        });
        Layers {
            layers: layers.collect(),
            pool: Mutex::new(Vec::new()),
            number: PhantomData,
        }
    }

    /// How much memory the weights of the gates take.
    pub fn bytes(&self) -> usize {
        let directions = self.layers.iter().flat_map(|layer| &layer.directions);
        directions.map(|of| of.ih.bytes() + of.hh.bytes()).sum()
    }

    /// Fills the results.
    ///
    /// # Safety
    ///
    /// The tensors have the shapes that the layers want, this dtype, and lie on the CPU;
    /// the last dimension of input and output is contiguous; the lengths are at most
    /// `time`.
    pub unsafe fn read(&self, read: &Read) {
        let plan = Plan::new(read.lengths, read.time);
        let mut scratch = self.taken();
        let (works, behind) = Work::all(&self.layers, &plan);
        let lines = |count: usize| count.next_multiple_of(LINE / size_of::<T>());
        // Between two layers what the lower one puts out, in turns; also where layers go
        // behind each other: what one puts out over, two layers below it is read already.
        let tokens = plan.time * plan.batch();
        let inner = works.split_last().map_or(&works[..0], |(_, inner)| inner);
        let widths = inner.iter().map(|work| work.width());
        let between = lines(tokens * widths.max().unwrap_or(0));
        let own = works.iter().map(|work| lines(work.own) * work.jobs());
        let all = match behind {
            true => own.sum(),
            false => own.max().unwrap_or(0),
        };
        let base: *mut T = scratch.of(2 * between + all);
        // SAFETY: it has room for so many.
        let mut own = unsafe { base.add(2 * between) };
        let mut jobs = Vec::new();
        let mut input = sequence::<T>(read.input, read.batch_first);
        let mut rows = 0;
        for (number, work) in works.iter().enumerate() {
            let width = work.width();
            // SAFETY: the scratch has room for all, and the states rows for each
            // direction of each layer.
            unsafe {
                let output = match number + 1 == works.len() {
                    true => sequence(read.output, read.batch_first),
                    false => Sequence {
                        at: Ptr(base.add(number % 2 * between)),
                        by_time: plan.batch() * width,
                        by_text: width,
                    },
                };
                let sizes = &work.layer.sizes;
                let h_rows = rows * plan.batch() * sizes.output;
                let c_rows = rows * plan.batch() * sizes.hidden;
                let at = |tensor: &Tensor, on: usize| {
                    debug_assert_eq!(tensor.kind(), T::KIND);
                    Ptr(Ptr(tensor.data_ptr().cast::<T>()).add(on))
                };
                let start = match read.start {
                    Some((h, c)) => (at(h, h_rows), at(c, c_rows)),
                    None => (Ptr::NULL, Ptr::NULL),
                };
                let end = (at(read.end.0, h_rows), at(read.end.1, c_rows));
                let place = Place {
                    input,
                    output,
                    start,
                    end,
                };
                let of = work.cut(&place, own, lines(work.own));
                if behind {
                    own = own.add(of.len() * lines(work.own));
                    jobs.extend(of);
                } else {
                    work.run(&of);
                }
                input = output;
                rows += sizes.directions;
            }
        }
        if behind {
            // SAFETY: as above.
            unsafe { run_behind(&jobs) };
        }
        self.given_back(scratch);
    }

    fn taken(&self) -> Scratch {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.pop().unwrap_or_default()
    }

    fn given_back(&self, scratch: Scratch) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.push(scratch);
    }
}

impl Scratch {
    /// Room for so many numbers.
    fn of<T>(&mut self, count: usize) -> *mut T {
        let lines = (count * size_of::<T>()).div_ceil(LINE);
        if self.lines.len() < lines {
            self.lines.resize(lines, Line([0; LINE]));
        }
        self.lines.as_mut_ptr().cast()
    }
}

impl Direction {
    fn new<T: Halve>(cell: &CellParams, sizes: &Sizes, half: bool) -> Direction {
        let (wide, lanes) = (sizes.wide::<T>(), T::kernels().lanes);
        let bias = Buffer::zeros::<T>(4 * wide);
        if let (Some(b_ih), Some(b_hh)) = (&cell.b_ih, &cell.b_hh) {
            let (b_ih, b_hh) = (b_ih.contiguous(), b_hh.contiguous());
            let (b_ih, b_hh) = (b_ih.data_ptr().cast::<T>(), b_hh.data_ptr().cast::<T>());
            for n in 0..4 * sizes.hidden {
                let (gate, unit) = (n / sizes.hidden, n % sizes.hidden);
                let to = (unit / lanes * 4 + gate) * lanes + unit % lanes;
                // SAFETY: both have 4 * hidden numbers, the buffer 4 * wide.
                unsafe { bias.at::<T>().add(to).write(*b_ih.add(n) + *b_hh.add(n)) };
            }
        }
        let hr = cell.w_hr.as_ref().map(|w_hr| {
            let w_hr = w_hr.contiguous();
            let from = w_hr.data_ptr().cast::<T>().cast_const();
            // SAFETY: it is [output, hidden].
            unsafe { Panels::transposed(sizes.hidden, sizes.output, from) }
        });
        Direction {
            ih: Packed::of::<T>(&cell.w_ih, sizes.input, sizes.hidden, half),
            hh: Packed::of::<T>(&cell.w_hh, sizes.output, sizes.hidden, half),
            hr,
            bias,
        }
    }
}

/// Of a tensor whose last stride is 1.
fn sequence<T: Halve>(tensor: &Tensor, batch_first: bool) -> Sequence<T> {
    let as_it_lies = Sequence::of(tensor);
    match batch_first {
        false => as_it_lies,
        true => Sequence {
            by_time: as_it_lies.by_text,
            by_text: as_it_lies.by_time,
            ..as_it_lies
        },
    }
}
