//! How work is shared among libtorch's threads: as jobs that do not wait for each other,
//! or in stages, each of which waits for the one before.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::layer::Sizes;
use super::plan::Plan;
use crate::shim;

/// Runs every job, on as many of libtorch's threads as there are jobs; a thread that has
/// done one takes the next, so that the long ones should stand first.
pub(super) fn at_once<J: Sync>(jobs: &[J], run: impl Fn(&J) + Sync) {
    let threads = threads().min(jobs.len());
    if threads < 2 {
        return jobs.iter().for_each(run);
    }
    let next = AtomicUsize::new(0);
    shim::in_parallel(threads, |_| {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            run(job);
        }
    });
}

pub(super) fn threads() -> usize {
    tch::get_num_threads().max(1) as usize
}

/// How many threads a direction is worth.
pub(super) fn worth(plan: &Plan, sizes: &Sizes) -> usize {
    let (hidden, inputs) = (sizes.hidden, sizes.input + sizes.output);
    // A thread is worth its start from about a tenth of a millisecond on.
    let work = plan.tokens() * hidden * 4 * inputs * sizes.directions;
    let worth = (work / WORTH_A_THREAD).clamp(1, threads());
    worth.div_ceil(sizes.directions)
}

/// The shares into which the texts of a direction are cut.
pub(super) fn shares(plan: &Plan, sizes: &Sizes) -> Vec<Range<usize>> {
    plan.shares(worth(plan, sizes))
}

/// Into how many parts the units of a direction are cut, so that threads go through each
/// step together; 1 where its texts are better cut into [`shares`]. Few texts cost what it
/// costs to read the weights, which every share would read all of.
pub(super) fn together(plan: &Plan, sizes: &Sizes) -> usize {
    if sizes.projected || plan.batch() > TOGETHER * threads() {
        return 1;
    }
    let weights = sizes.hidden * 4 * sizes.output;
    (weights / WORTH_A_PART).clamp(1, (threads() / sizes.directions).max(1))
}

/// Whether it pays that layers, each of which one thread takes, go behind each other, see
/// [`one_behind_another`].
pub(super) fn worth_behind<'a>(plan: &Plan, layers: impl Iterator<Item = &'a Sizes>) -> bool {
    let of = |sizes: &Sizes| plan.tokens() * sizes.hidden * 4 * (sizes.input + sizes.output);
    threads() > 1 && layers.map(of).sum::<usize>() >= WORTH_BEHIND
}

/// Multiplications and additions of all layers.
const WORTH_BEHIND: usize = 1_000_000;

/// So many texts for each thread are few.
const TOGETHER: usize = 8;

/// Multiplications and additions.
const WORTH_A_THREAD: usize = 8_000_000;

/// Weights: read in some microseconds, ten times what it takes threads to wait for each
/// other.
const WORTH_A_PART: usize = 128 << 10;

/// Takes every job through its steps: each by a thread, or, with parts, all threads through
/// every step of all of them together, `step(job, step, part)`.
pub(super) fn step_by_step<J: Sync>(
    jobs: &[J],
    parts: usize,
    begin: impl Fn(&J) + Sync,
    steps: impl Fn(&J) -> usize + Sync,
    step: impl Fn(&J, usize, usize) + Sync,
) {
    if parts == 1 {
        return at_once(jobs, |job| {
            begin(job);
            (0..steps(job)).for_each(|number| step(job, number, 0));
        });
    }
    at_once(jobs, begin);
    let most = jobs.iter().map(steps).max().unwrap_or(0);
    in_stages(most, jobs.len() * parts, |number, piece| {
        step(&jobs[piece / parts], number, piece % parts);
    });
}

/// Takes layers through blocks of steps, as a wavefront: each layer is a block behind the
/// one below it, and all run at once.
pub(super) fn one_behind_another(layers: usize, blocks: usize, run: impl Fn(usize, usize) + Sync) {
    in_stages(blocks + layers - 1, layers, |stage, layer| {
        let block = stage.checked_sub(layer);
        if let Some(block) = block.filter(|&block| block < blocks) {
            run(layer, block);
        }
    });
}

/// The units of a part, from whole panels of this width on.
pub(super) fn units(wide: usize, panel: usize, part: usize, parts: usize) -> Range<usize> {
    let first = |part: usize| (wide.div_ceil(panel) * part / parts * panel).min(wide);
    first(part)..first(part + 1)
}

/// Runs every piece of every stage, on as many of libtorch's threads as there are pieces;
/// a stage begins when the one before is done. From stage to stage a thread takes the
/// same pieces, whose weights are still in its cache, and those of others only if they
/// have not begun. So it is as well that libtorch gives one thread only, or one later.
pub(super) fn in_stages(stages: usize, pieces: usize, run: impl Fn(usize, usize) + Sync) {
    let threads = threads().min(pieces);
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
    match threads {
        0 | 1 => thread(0),
        _ => shim::in_parallel(threads, thread),
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
    use super::*;

    #[test]
    fn a_stage_waits_for_the_one_before() {
        let before = tch::get_num_threads();
        for threads in [1, 2, 5] {
            tch::set_num_threads(threads);
            let (stages, pieces) = (200, 7);
            let all: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
            in_stages(stages, pieces, |stage, piece| {
                for of in &all {
                    let seen = of.load(Ordering::Relaxed);
                    assert!(seen == stage || seen == stage + 1, "{seen} in {stage}");
                }
                assert_eq!(all[piece].fetch_add(1, Ordering::Relaxed), stage);
            });
            assert!(all.iter().all(|of| of.load(Ordering::Relaxed) == stages));
        }
        tch::set_num_threads(before);
    }

    #[test]
    fn a_piece_that_panics_lets_nobody_wait_for_ever() {
        let before = tch::get_num_threads();
        for threads in [1, 3] {
            tch::set_num_threads(threads);
            let call = || in_stages(50, 4, |stage, piece| assert!((stage, piece) != (20, 2)));
            let ended = std::panic::catch_unwind(call);
            tch::set_num_threads(before);
            assert!(ended.is_err());
        }
    }
}
