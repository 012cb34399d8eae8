//! How far a command is, on standard error: a bar on a terminal, a line every
//! few seconds in a log, nothing when quiet.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// The least time between two lines of one stage where there is no terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// Whether progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A bar where standard error is a terminal that can move its cursor
    /// (`TERM` is set and not `dumb`) and `NO_COLOR` is not set; lines
    /// without escape codes elsewhere.
    Auto,
    /// Nothing at all.
    Quiet,
}

/// Where progress goes. Cheap to clone; clones share the terminal.
#[derive(Clone)]
pub struct Progress(Arc<Shared>);

struct Shared {
    form: Form,
    out: Mutex<Box<dyn Write + Send>>,
    /// Time since the start, replaced by the tests.
    clock: Box<dyn Fn() -> Duration + Send + Sync>,
}

enum Form {
    Quiet,
    Lines,
    Bars(MultiProgress),
}

/// One counted piece of work, such as an epoch. Dropped before
/// [`Stage::finish`], as on an error, it takes its bar away and says nothing.
pub struct Stage {
    progress: Progress,
    name: String,
    total: u64,
    unit: &'static str,
    done: u64,
    message: String,
    started: Duration,
    printed: Duration,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Progress on standard error.
    pub fn new(mode: Mode) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let draws = io::stderr().is_terminal()
            && set("NO_COLOR").is_none()
            && set("TERM").is_some_and(|term| term != "dumb");
        let form = match mode {
            Mode::Quiet => Form::Quiet,
            Mode::Auto if draws => {
                Form::Bars(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
            }
            Mode::Auto => Form::Lines,
        };
        let start = Instant::now();
        Self::with(form, io::stderr(), move || start.elapsed())
    }

    fn with(
        form: Form,
        out: impl Write + Send + 'static,
        clock: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            form,
            out: Mutex::new(Box::new(out)),
            clock: Box::new(clock),
        }))
    }

    /// Starts a stage of `total` (0 where it is not known) texts, steps or
    /// whatever `unit` says in the plural.
    pub fn stage(&self, name: &str, total: u64, unit: &'static str) -> Stage {
        let now = (self.0.clock)();
        let bar = match &self.0.form {
            Form::Bars(bars) => Some(bars.add(bar(name, total, unit))),
            Form::Quiet | Form::Lines => None,
        };
        Stage {
            progress: self.clone(),
            name: name.to_owned(),
            total,
            unit,
            done: 0,
            message: String::new(),
            started: now,
            printed: now,
            bar,
        }
    }

    /// Prints a line, above the bar where there is one.
    pub fn line(&self, text: &str) {
        let print = || {
            // Progress that cannot be shown (a closed pipe) is no reason to
            // stop.
            if let Ok(mut out) = self.0.out.lock() {
                let _ = writeln!(out, "{text}");
            }
        };
        match &self.0.form {
            Form::Quiet => {}
            Form::Lines => print(),
            Form::Bars(bars) => bars.suspend(print),
        }
    }
}

impl Stage {
    /// `count` more are done.
    pub fn advance(&mut self, count: u64) {
        self.done += count;
        if let Some(bar) = &self.bar {
            bar.inc(count);
            return;
        }
        // The last line is that of `finish`.
        let ended = self.total > 0 && self.done >= self.total;
        if ended || matches!(self.progress.0.form, Form::Quiet) {
            return;
        }
        let now = (self.progress.0.clock)();
        if now - self.printed < BETWEEN_LINES {
            return;
        }
        self.printed = now;
        let rate = self.done as f64 / (now - self.started).as_secs_f64();
        let state = state(self.done, self.total, self.unit, rate);
        let text = format!("{}: {state}{}", self.name, self.message);
        self.progress.line(&text);
    }

    /// Sets what is shown after the counts, such as `loss 0.6931`.
    pub fn message(&mut self, text: String) {
        self.message = format!(", {text}");
        if let Some(bar) = &self.bar {
            bar.set_message(self.message.clone());
        }
    }

    /// Ends the stage with a line that stays: what was done, and how fast.
    pub fn finish(mut self) {
        self.clear();
        let seconds = ((self.progress.0.clock)() - self.started).as_secs_f64();
        let mut text = format!(
            "{}: {} {} in {}",
            self.name,
            self.done,
            self.unit,
            time(seconds)
        );
        let rate = self.done as f64 / seconds;
        if rate > 0.0 && rate.is_finite() {
            let _ = write!(text, ", {}/s", number(rate));
        }
        self.progress.line(&(text + &self.message));
    }

    /// Takes the bar off the terminal.
    fn clear(&mut self) {
        if let (Form::Bars(bars), Some(bar)) = (&self.progress.0.form, self.bar.take()) {
            bar.finish_and_clear();
            bars.remove(&bar);
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A bar (a bare count where `total` is 0) that is not drawn yet.
fn bar(name: &str, total: u64, unit: &'static str) -> ProgressBar {
    let template = match total {
        0 => "{prefix}  {state}{wide_msg}",
        _ => "{prefix}  [{bar:16}] {state}{wide_msg}",
    };
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
        .with_key(
            "state",
            move |bar: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = out.write_str(&state(bar.pos(), total, unit, bar.per_sec()));
            },
        );
    ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden())
        .with_style(style)
        .with_prefix(name.to_owned())
}

/// `3200/6920 texts, 812/s, 4.6 s left`; without what is not known.
fn state(done: u64, total: u64, unit: &str, rate: f64) -> String {
    let mut text = done.to_string();
    if total > 0 {
        let _ = write!(text, "/{total}");
    }
    let _ = write!(text, " {unit}");
    if rate > 0.0 && rate.is_finite() {
        let _ = write!(text, ", {}/s", number(rate));
        if total > done {
            let _ = write!(text, ", {} left", time((total - done) as f64 / rate));
        }
    }
    text
}

/// A rate with about three digits.
fn number(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// `8.6 s`, `43 s`, `3 min 05 s` or `2 h 05 min`.
fn time(seconds: f64) -> String {
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match whole {
        ..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::TermLike;

    /// What was written, shared with the test.
    #[derive(Debug, Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Screen {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
        fn push(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().extend(text.as_bytes());
            Ok(())
        }
    }

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A terminal that writes its moves in words.
    impl TermLike for Screen {
        fn width(&self) -> u16 {
            100
        }
        fn move_cursor_up(&self, n: usize) -> io::Result<()> {
            self.push(&format!("<up {n}>"))
        }
        fn move_cursor_down(&self, n: usize) -> io::Result<()> {
            self.push(&format!("<down {n}>"))
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.push(&format!("{text}\n"))
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.push(text)
        }
        fn clear_line(&self) -> io::Result<()> {
            self.push("<clear>")
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Progress in lines, its output, and a function that lets time pass.
    fn lines() -> (Progress, Screen, impl Fn(f64)) {
        let screen = Screen::default();
        let now = Arc::new(Mutex::new(Duration::ZERO));
        let clock = Arc::clone(&now);
        let progress = Progress::with(Form::Lines, screen.clone(), move || *clock.lock().unwrap());
        let pass = move |seconds| *now.lock().unwrap() += Duration::from_secs_f64(seconds);
        (progress, screen, pass)
    }

    #[test]
    fn a_line_at_most_every_five_seconds_and_one_at_the_end() {
        let (progress, screen, pass) = lines();
        let mut stage = progress.stage("epoch 1/3", 6920, "texts");
        stage.message("loss 0.6931".to_owned());
        for _ in 0..8 {
            pass(2.0);
            stage.advance(800);
        }
        progress.line("saved the best model");
        pass(1.0);
        stage.advance(520);
        stage.message("loss 0.5012".to_owned());
        stage.finish();
        assert_eq!(
            screen.text(),
            "epoch 1/3: 2400/6920 texts, 400/s, 11 s left, loss 0.6931
epoch 1/3: 4800/6920 texts, 400/s, 5.3 s left, loss 0.6931
saved the best model
epoch 1/3: 6920 texts in 17 s, 407/s, loss 0.5012
"
        );
    }

    #[test]
    fn an_unknown_total_and_no_time() {
        let (progress, screen, pass) = lines();
        progress.stage("nothing", 0, "texts").finish();
        let mut stage = progress.stage("reading", 0, "lines");
        pass(5.0);
        stage.advance(12);
        stage.finish();
        assert_eq!(
            screen.text(),
            "nothing: 0 texts in 0.0 s
reading: 12 lines, 2.40/s
reading: 12 lines in 5.0 s, 2.40/s
"
        );
    }

    #[test]
    fn a_dropped_stage_says_nothing() {
        let (progress, screen, pass) = lines();
        let mut stage = progress.stage("epoch 1/3", 10, "texts");
        pass(1.0);
        stage.advance(5);
        drop(stage);
        assert_eq!(screen.text(), "");
    }

    #[test]
    fn quiet_counts_but_says_nothing() {
        let progress = Progress::new(Mode::Quiet);
        assert!(matches!(progress.0.form, Form::Quiet));
        let mut stage = progress.stage("epoch", 2, "texts");
        stage.advance(2);
        assert_eq!(stage.done, 2);
        stage.finish();
    }

    #[test]
    fn a_terminal_gets_a_bar_with_lines_above_it() {
        let screen = Screen::default();
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let bars = MultiProgress::with_draw_target(target);
        let progress = Progress::with(Form::Bars(bars), screen.clone(), || Duration::from_secs(2));
        progress.line("before");
        let mut stage = progress.stage("epoch 1/3", 100, "texts");
        stage.message("loss 0.6931".to_owned());
        stage.advance(50);
        progress.line("saved the best model");
        stage.advance(50);
        stage.finish();
        progress.line("after");
        let text = screen.text();
        for part in [
            "before",
            "epoch 1/3  [",
            "50/100 texts, ",
            ", loss 0.6931",
            "saved the best model",
            "epoch 1/3: 100 texts in 0.0 s, loss 0.6931",
            "after",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn times_and_rates_read_well() {
        let times = [0.04, 9.94, 9.96, 59.6, 185.0, 3599.6, 7500.0].map(time);
        assert_eq!(
            times,
            [
                "0.0 s",
                "9.9 s",
                "10 s",
                "1 min 00 s",
                "3 min 05 s",
                "1 h 00 min",
                "2 h 05 min"
            ]
        );
        assert_eq!(
            [0.126, 9.999, 12.34, 99.96, 1234.5].map(number),
            ["0.13", "10.0", "12.3", "100", "1234"]
        );
    }
}
