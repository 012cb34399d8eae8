//! Threads: the trait through which the kernels use a program's own, and two plain pools.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::memory::Allocator;

/// Threads that the kernels share their work among.
///
/// An implementation over a pool that the program has anyway is better than a second pool
/// beside it, which would compete for the same cores.
pub trait Pool: Sync {
    /// How many threads [`run`](Self::run) uses at most; at least 1.
    fn threads(&self) -> usize;

    /// Calls `task` with every number below `count`, on one thread or several in any order,
    /// and returns when all calls are over. Where a call panics it panics too.
    fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync));
}

/// The calling thread and no other.
#[derive(Clone, Copy, Debug, Default)]
pub struct SingleThread;

impl Pool for SingleThread {
    fn threads(&self) -> usize {
        1
    }

    fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..count).for_each(task);
    }
}

/// Threads of the standard library, started for each piece of work that is worth them; the
/// calling thread is one of them.
#[derive(Clone, Copy, Debug)]
pub struct ScopedThreads {
    count: NonZero<usize>,
}

impl ScopedThreads {
    /// So many threads.
    pub fn new(count: NonZero<usize>) -> ScopedThreads {
        ScopedThreads { count }
    }
}

impl Pool for ScopedThreads {
    fn threads(&self) -> usize {
        self.count.get()
    }

    fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    break;
                }
                task(number);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.count.get().min(count) {
                scope.spawn(work);
            }
            work();
        });
    }
}

/// What a call uses of the program around it.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The threads.
    pub pool: &'a dyn Pool,
    /// Where large buffers come from.
    pub allocator: &'a dyn Allocator,
}

impl Context<'_> {
    /// Threads of the pool, at least one.
    pub(crate) fn threads(&self) -> usize {
        self.pool.threads().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_worked_on_once_and_a_panic_arrives() {
        let pools: [&dyn Pool; 3] = [
            &SingleThread,
            &ScopedThreads::new(NonZero::new(1).unwrap()),
            &ScopedThreads::new(NonZero::new(4).unwrap()),
        ];
        for pool in pools {
            let counts: Vec<AtomicUsize> = (0..100).map(|_| AtomicUsize::new(0)).collect();
            pool.run(counts.len(), &|n| {
                counts[n].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|n| n.load(Ordering::Relaxed) == 1));
            pool.run(0, &|_| unreachable!());
            let panics = || pool.run(8, &|n| assert_ne!(n, 5));
            let panics = std::panic::AssertUnwindSafe(panics);
            assert!(std::panic::catch_unwind(panics).is_err());
        }
    }
}
