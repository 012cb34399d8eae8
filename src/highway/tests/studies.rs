//! Studies and their folders.

use std::fs;
use std::path::Path;

use super::*;

struct Nobody;

impl Observer for Nobody {
    fn begins(&self, _: &Lesson, _: ModelKind) -> Box<dyn Watch + '_> {
        Box::new(())
    }
}

fn plan() -> Plan {
    let lessons = [COPY, ADDING].map(|task| Lesson { task, steps: 3 });
    Plan {
        full: false,
        setting: setting(4),
        lessons: lessons.to_vec(),
        device: "cpu".to_owned(),
        images: None,
    }
}

fn timeless(mut outcomes: Vec<Outcome>) -> Vec<Outcome> {
    outcomes
        .iter_mut()
        .for_each(|outcome| outcome.seconds = 0.0);
    outcomes
}

#[test]
fn a_study_is_the_same_with_any_number_of_threads_and_goes_on_where_it_stopped() {
    let plan = plan();
    let root = tempfile::tempdir().unwrap();
    let of = |name: &str, workers| {
        let folder = Folder::claim(root.path().join(name), &plan).unwrap();
        let outcomes = study(&plan, &folder, None, Device::Cpu, workers, &Nobody);
        timeless(outcomes.unwrap().unwrap())
    };
    let one = of("one", 1);
    assert_eq!(one.len(), 8);
    let order: Vec<_> = one
        .iter()
        .map(|outcome| (outcome.task, outcome.model))
        .collect();
    let planned: Vec<_> = plan
        .parts()
        .map(|(lesson, model)| (lesson.task, model))
        .collect();
    assert_eq!(order, planned);
    assert_eq!(one, of("three", 3));

    let gone = root.path().join("one/outcomes/adding-9.rnn.json");
    fs::remove_file(&gone).unwrap();
    let kept = root.path().join("one/outcomes/copy-5.rnn.json");
    let touched = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let before = touched(&kept);
    assert_eq!(one, of("one", 2));
    assert!(gone.exists() && touched(&kept) == before);
    // What was read is what was written.
    assert_eq!(one, of("one", 2));
}

#[test]
fn whoever_watches_can_stop_it() {
    struct Impatient(AtomicUsize);
    impl Observer for Impatient {
        fn begins(&self, _: &Lesson, _: ModelKind) -> Box<dyn Watch + '_> {
            Box::new(Once(self))
        }
    }
    struct Once<'a>(&'a Impatient);
    impl Watch for Once<'_> {
        fn stepped(&mut self, _: u64, _: f64) {
            self.0.0.fetch_add(1, Ordering::Relaxed);
        }
        fn wants_to_stop(&self) -> bool {
            self.0.0.load(Ordering::Relaxed) >= 4
        }
    }
    let (plan, root) = (plan(), tempfile::tempdir().unwrap());
    let folder = Folder::claim(root.path().join("x"), &plan).unwrap();
    let impatient = Impatient(AtomicUsize::new(0));
    let found = study(&plan, &folder, None, Device::Cpu, 1, &impatient).unwrap();
    assert!(found.is_none());
    let finished: Vec<_> = fs::read_dir(root.path().join("x/outcomes"))
        .unwrap()
        .collect();
    assert_eq!(finished.len(), 1);
}

#[test]
fn a_folder_that_is_not_this_studys_is_refused() {
    let (plan, root) = (plan(), tempfile::tempdir().unwrap());
    let path = root.path().join("x");
    let folder = Folder::claim(&path, &plan).unwrap();
    let error = |plan: &Plan, path: &Path| Folder::claim(path, plan).unwrap_err().to_string();
    assert!(error(&plan, &path).contains("another study is writing"));
    drop(folder);
    let mut other = plan.clone();
    other.setting.seed = 4;
    let says = error(&other, &path);
    assert!(
        says.contains("\"seed\": 4, here and \"seed\": 3, there"),
        "{says}"
    );
    fs::write(root.path().join("notes.txt"), "mine").unwrap();
    assert!(error(&plan, root.path()).contains("holds no highway study"));

    fs::write(path.join("outcomes/copy-5.rnn.json"), "{").unwrap();
    let folder = Folder::claim(&path, &plan).unwrap();
    let damaged = study(&plan, &folder, None, Device::Cpu, 2, &Nobody)
        .unwrap_err()
        .to_string();
    assert!(damaged.contains("copy-5.rnn.json: is damaged"), "{damaged}");

    // What is of another training is not taken for this one's.
    fs::remove_file(path.join("outcomes/copy-5.rnn.json")).unwrap();
    study(&plan, &folder, None, Device::Cpu, 2, &Nobody).unwrap();
    let file = |task: &str| path.join(format!("outcomes/{task}.rnn.json"));
    fs::copy(file("adding-9"), file("copy-5")).unwrap();
    let other = study(&plan, &folder, None, Device::Cpu, 2, &Nobody).unwrap_err();
    assert!(other.to_string().contains("of another training"), "{other}");
}
