//! `cellway highway`: how far memory reaches, measured and shown on a page.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tch::Device;

use super::compare::check_new_file;
use super::train::{INTERRUPTED, stop_flag};
use super::{DeviceArg, VERSION, say, say_json, warn};
use crate::highway::{
    Folder, Lesson, Mnist, ModelKind, Observer, Outcome, Plan, TaskKind, Verdict, Watch, Wish,
    images, law, number, of_loss, percent, study, tasks,
};
use crate::report::{HighwayPage, Progress, Stage, Table, highway_page, highway_picture};

/// The arguments of `cellway highway`.
#[derive(Debug, Args)]
pub(super) struct Highway {
    /// Folder of the study: a new one, or that of the same study, to go on
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// What is learnt (may be repeated) [default: copy and adding, and all with --mnist]
    #[arg(long)]
    task: Vec<TaskArg>,

    /// Folder of MNIST's four IDX files, unpacked
    #[arg(long, value_name = "DIR")]
    mnist: Option<PathBuf>,

    /// Hidden size of all models [default: 64, with --full 128]
    #[arg(long, value_name = "N")]
    hidden: Option<i64>,

    /// Steps of training, for each task and model [default: by task]
    #[arg(long, value_name = "N")]
    steps: Option<u64>,

    /// Of everything that is drawn
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Lengths and sizes such as the papers have: days on a CPU
    #[arg(long)]
    full: bool,

    /// Draw the last task, too: .png or .svg
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,

    #[command(flatten)]
    device: DeviceArg,

    /// The results as JSON, and nothing else, on standard output
    #[arg(long)]
    json: bool,
}

/// A task.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum TaskArg {
    /// Ten symbols, to be said again after 50, 200 and 500 steps
    Copy,
    /// The sum of two marked numbers of 100 and of 400
    Adding,
    /// Digits, pixel by pixel
    Mnist,
    /// The same in a random order
    Pmnist,
}

impl From<TaskArg> for TaskKind {
    fn from(task: TaskArg) -> TaskKind {
        match task {
            TaskArg::Copy => TaskKind::Copy,
            TaskArg::Adding => TaskKind::Adding,
            TaskArg::Mnist => TaskKind::Mnist,
            TaskArg::Pmnist => TaskKind::Pmnist,
        }
    }
}

impl Highway {
    /// Gives the exit code.
    pub fn run(&self, progress: &Progress) -> Result<u8> {
        let stop = stop_flag()?;
        if let Some(path) = &self.picture {
            check_new_file("--picture", path)?;
        }
        let device = self.device.resolve()?;
        let wish = Wish {
            tasks: self.task.iter().map(|task| (*task).into()).collect(),
            hidden: self.hidden,
            steps: self.steps,
            seed: self.seed,
            full: self.full,
            images: self.mnist.is_some(),
        };
        let wanted: Vec<_> = tasks(&wish).into_iter().map(|(task, _)| task).collect();
        let images = images(&wanted, self.mnist.as_deref())?;
        let digest = images.as_ref().map(|images| images.digest().to_owned());
        let plan = Plan::new(&wish, device_name(device), digest)?;
        let folder = Folder::claim(&self.out, &plan)?;
        let Some(outcomes) =
            self.trained(&plan, &folder, images.as_ref(), device, progress, stop)?
        else {
            warn("stopped; what is finished is kept, and the same command goes on from there");
            return Ok(INTERRUPTED);
        };
        let results = json!({
            "cellway": VERSION,
            "plan": plan,
            "law": law(&outcomes),
            "outcomes": outcomes.iter().map(with_verdict).collect::<Result<Vec<_>>>()?,
        });
        let page = folder.page();
        let content = HighwayPage {
            plan: &plan,
            outcomes: &outcomes,
            version: VERSION,
        };
        highway_page(&page, &content)?;
        if let Some(path) = &self.picture {
            highway_picture(path, &outcomes)?;
        }
        // The last to be written: the study is finished then.
        let saved = folder.save_results(&results)?;
        if self.json {
            say_json(&results)?;
            return Ok(0);
        }
        say(format!("{}\n", table(&outcomes)))?;
        for sentence in law(&outcomes) {
            say(sentence)?;
        }
        say(format!("\npage     {}", page.display()))?;
        say(format!("results  {}", saved.display()))?;
        Ok(0)
    }

    fn trained(
        &self,
        plan: &Plan,
        folder: &Folder,
        images: Option<&Mnist>,
        device: Device,
        progress: &Progress,
        stop: Arc<AtomicBool>,
    ) -> Result<Option<Vec<Outcome>>> {
        let all = plan.parts().count();
        let mut finished = 0;
        for (lesson, model) in plan.parts() {
            finished += usize::from(folder.finished(lesson, model)?.is_some());
        }
        if finished > 0 {
            let out = self.out.display();
            progress.line(&format!(
                "{out}: goes on, {finished} of {all} trainings are there"
            ));
        }
        // Each has one thread; several on one CUDA device would only be in each other's
        // way.
        let workers = match device {
            Device::Cpu => tch::get_num_threads().max(1) as usize,
            _ => 1,
        };
        let shown = Shown { progress, stop };
        Ok(study(plan, folder, images, device, workers, &shown)?)
    }
}

/// As a plan says it.
fn device_name(device: Device) -> String {
    match device {
        Device::Cpu => "cpu".to_owned(),
        Device::Cuda(number) => format!("cuda:{number}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn with_verdict(outcome: &Outcome) -> Result<Value> {
    let mut value = serde_json::to_value(outcome)?;
    value["baseline"] = json!(outcome.task.baseline());
    value["share_of_baseline"] = json!(outcome.share());
    value["verdict"] = json!(Verdict::of(outcome).words());
    Ok(value)
}

fn table(outcomes: &[Outcome]) -> Table {
    let headers = [
        "task",
        "model",
        "test loss",
        "of the baseline",
        "right",
        "verdict",
    ];
    let mut table = Table::new("how far memory reaches", headers);
    for outcome in outcomes {
        table.row([
            outcome.task.name(),
            outcome.model.title().to_owned(),
            number(outcome.test_loss),
            percent(outcome.share()),
            percent(outcome.right),
            Verdict::of(outcome).words().to_owned(),
        ]);
    }
    table
}

/// Shows the trainings that run.
struct Shown<'a> {
    progress: &'a Progress,
    stop: Arc<AtomicBool>,
}

struct Bar<'a> {
    shown: &'a Shown<'a>,
    stage: Stage,
}

impl Observer for Shown<'_> {
    fn begins(&self, lesson: &Lesson, model: ModelKind) -> Box<dyn Watch + '_> {
        let name = format!("{} {}", lesson.task.name(), model.name());
        Box::new(Bar {
            shown: self,
            stage: self.progress.stage(&name, lesson.steps, "steps"),
        })
    }

    fn ends(&self, outcome: &Outcome) {
        let name = outcome.task.name();
        self.progress.line(&format!("{name}: {}", of_loss(outcome)));
    }
}

impl Watch for Bar<'_> {
    fn stepped(&mut self, _: u64, loss: f64) {
        self.stage.message(format!("loss {loss:.4}"));
        self.stage.advance(1);
    }

    fn wants_to_stop(&self) -> bool {
        self.shown.stop.load(Ordering::Relaxed)
    }
}
