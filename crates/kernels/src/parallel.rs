//! How work is shared among threads: as jobs that do not wait for each other, or in
//! stages, each of which waits for the one before.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::layer::LayerSizes;
use crate::plan::BatchPlan;
use crate::pool::Context;

/// Runs every job, on as many threads as there are jobs; a thread that has done one takes
/// the next, so that the long ones should stand first.
pub(crate) fn parallel_for<J: Sync>(context: &Context, jobs: &[J], run: impl Fn(&J) + Sync) {
    let threads = context.threads().min(jobs.len());
    if threads < 2 {
        return jobs.iter().for_each(run);
    }
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            run(job);
        }
    };
    context.pool.run(threads, &|_| work());
    // Of a pool that made fewer calls than it should some jobs are left.
    work();
}

/// How many threads a direction is worth.
pub(crate) fn worth(context: &Context, plan: &BatchPlan, sizes: &LayerSizes) -> usize {
    let (hidden, inputs) = (sizes.hidden, sizes.input + sizes.output());
    // A thread is worth its start from about a tenth of a millisecond on.
    let work = plan.packed_rows() * hidden * 4 * inputs * sizes.directions;
    let worth = (work / WORTH_A_THREAD).clamp(1, context.threads());
    worth.div_ceil(sizes.directions)
}

/// The shares into which the sequences of a direction are cut.
pub(crate) fn shares(context: &Context, plan: &BatchPlan, sizes: &LayerSizes) -> Vec<Range<usize>> {
    plan.shares(worth(context, plan, sizes))
}

/// Into how many parts the units of a direction are cut, so that so many threads go through
/// each step together; 1 where its sequences are better cut into shares. Few sequences cost
/// what it costs to read the weights, which every share would read all of.
pub fn unit_parallelism(threads: usize, plan: &BatchPlan, sizes: &LayerSizes) -> usize {
    if sizes.projected() || plan.batch() > FEW_SEQUENCES * threads {
        return 1;
    }
    let weights = sizes.hidden * 4 * sizes.output();
    (weights / WORTH_A_PART).clamp(1, (threads / sizes.directions).max(1))
}

/// Whether it pays that layers, each of which one thread takes, go behind each other, see
/// [`run_wavefront`].
pub(crate) fn worth_a_wavefront<'a>(
    context: &Context,
    plan: &BatchPlan,
    layers: impl Iterator<Item = &'a LayerSizes>,
) -> bool {
    let of =
        |sizes: &LayerSizes| plan.packed_rows() * sizes.hidden * 4 * (sizes.input + sizes.output());
    context.threads() > 1 && layers.map(of).sum::<usize>() >= WORTH_A_WAVEFRONT
}

/// Multiplications and additions of all layers.
const WORTH_A_WAVEFRONT: usize = 1_000_000;

/// So many sequences for each thread are few.
const FEW_SEQUENCES: usize = 8;

/// Multiplications and additions.
const WORTH_A_THREAD: usize = 8_000_000;

/// Weights: read in some microseconds, ten times what it takes threads to wait for each
/// other.
const WORTH_A_PART: usize = 128 << 10;

/// Takes every job through its steps: each by a thread, or, with parts, all threads through
/// every step of all of them together, `step(job, step, part)`.
pub(crate) fn run_steps<J: Sync>(
    context: &Context,
    jobs: &[J],
    parts: usize,
    begin: impl Fn(&J) + Sync,
    steps: impl Fn(&J) -> usize + Sync,
    step: impl Fn(&J, usize, usize) + Sync,
) {
    if parts == 1 {
        return parallel_for(context, jobs, |job| {
            begin(job);
            (0..steps(job)).for_each(|number| step(job, number, 0));
        });
    }
    parallel_for(context, jobs, begin);
    let most = jobs.iter().map(steps).max().unwrap_or(0);
    run_barriered(context, most, jobs.len() * parts, |number, piece| {
        step(&jobs[piece / parts], number, piece % parts);
    });
}

/// Takes layers through blocks of steps: each layer is a block behind the one below it, and
/// all run at once.
pub(crate) fn run_wavefront(
    context: &Context,
    layers: usize,
    blocks: usize,
    run: impl Fn(usize, usize) + Sync,
) {
    run_barriered(context, blocks + layers - 1, layers, |stage, layer| {
        let block = stage.checked_sub(layer);
        if let Some(block) = block.filter(|&block| block < blocks) {
            run(layer, block);
        }
    });
}

/// The units of a part, from whole panels of this width on.
pub(crate) fn units(hidden_padded: usize, panel: usize, part: usize, parts: usize) -> Range<usize> {
    let panels = hidden_padded.div_ceil(panel);
    let first = |part: usize| (panels * part / parts * panel).min(hidden_padded);
    first(part)..first(part + 1)
}

/// Runs every piece of every stage, on as many threads as there are pieces; a stage begins
/// when the one before is done. From stage to stage a thread takes the same pieces, whose
/// weights are still in its cache, and those of others only if they have not begun. So it is
/// as well that a pool gives one thread only, or one later.
pub(crate) fn run_barriered(
    context: &Context,
    stages: usize,
    pieces: usize,
    run: impl Fn(usize, usize) + Sync,
) {
    let threads = context.threads().min(pieces);
    // Of each piece the stages that somebody has begun; and the pieces that are done.
    let begun: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
    let done = AtomicUsize::new(0);
    let thread = |number: usize| {
        for stage in 0..stages {
            for n in 0..pieces {
                let piece = (number * pieces / threads + n) % pieces;
                let mine = |had: &AtomicUsize| {
                    let (next, order) = (stage + 1, Ordering::Relaxed);
                    had.compare_exchange(stage, next, order, order).is_ok()
                };
                if mine(&begun[piece]) {
                    let _done = Done(&done);
                    run(stage, piece);
                }
            }
            let mut spins = 0;
            while done.load(Ordering::Acquire) < (stage + 1) * pieces {
                // Who began runs, unless the system took its core away.
                spins += 1;
                match spins < SPINS {
                    true => std::hint::spin_loop(),
                    false => std::thread::yield_now(),
                }
            }
        }
    };
    if threads > 1 {
        context.pool.run(threads, &thread);
    }
    // On one thread; and of a pool that called nothing all is left.
    if done.load(Ordering::Acquire) < stages * pieces {
        thread(0);
    }
}

/// Counts a piece as done, even one that panicked: else the others would wait for ever.
struct Done<'a>(&'a AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// Some tens of microseconds.
const SPINS: usize = 1000;

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;
    use crate::memory::HeapAllocator;
    use crate::pool::{Pool, ScopedThreads};

    /// A pool that forgets what it is asked for.
    struct Lazy;

    impl Pool for Lazy {
        fn threads(&self) -> usize {
            3
        }
        fn run(&self, _: usize, _: &(dyn Fn(usize) + Sync)) {}
    }

    fn with_threads(count: usize, run: impl Fn(&Context)) {
        run(&Context {
            pool: &ScopedThreads::new(NonZero::new(count).unwrap()),
            allocator: &HeapAllocator,
        });
    }

    #[test]
    fn a_stage_waits_for_the_one_before() {
        for threads in [1, 2, 5] {
            let (stages, pieces) = (if cfg!(miri) { 20 } else { 200 }, 7);
            let all: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
            with_threads(threads, |context| {
                run_barriered(context, stages, pieces, |stage, piece| {
                    for of in &all {
                        let seen = of.load(Ordering::Relaxed);
                        assert!(seen == stage || seen == stage + 1, "{seen} in {stage}");
                    }
                    assert_eq!(all[piece].fetch_add(1, Ordering::Relaxed), stage);
                });
            });
            assert!(all.iter().all(|of| of.load(Ordering::Relaxed) == stages));
        }
    }

    #[test]
    fn a_piece_that_panics_lets_nobody_wait_for_ever() {
        for threads in [1, 3] {
            let call = || {
                with_threads(threads, |context| {
                    let run = |stage, piece| assert!((stage, piece) != (20, 2));
                    run_barriered(context, 50, 4, run);
                });
            };
            assert!(std::panic::catch_unwind(call).is_err());
        }
    }

    #[test]
    fn work_that_a_pool_forgets_is_done_nevertheless() {
        let context = Context {
            pool: &Lazy,
            allocator: &HeapAllocator,
        };
        let done = AtomicUsize::new(0);
        let count = || {
            done.fetch_add(1, Ordering::Relaxed);
        };
        parallel_for(&context, &[(); 5], |()| count());
        run_barriered(&context, 3, 4, |_, _| count());
        assert_eq!(done.into_inner(), 5 + 12);
    }
}
