use std::path::Path;

use super::figures::{gate_panel, histogram_panel, memory_panel};
use super::{Asked, UnitsReport, units_page, units_text};
use crate::lstm::LstmConfig;
use crate::model::Pooling;
use crate::report::chart::Panel;
use crate::units::{
    Activation, Correlations, Direction, Histogram, Layer, Projected, Query, Ranked, Saturation,
    Sentence, Sentences, Survey, Unit, Word,
};

const HOSTILE: &str = "</script><img src=x> \"'&$a$ \u{1b}";

fn unit(unit: usize, half_life: Option<f64>, floored: f64) -> Unit {
    let gate = |left, right| Saturation { left, right };
    Unit {
        unit,
        input: gate(0.125, 0.25),
        forget: gate(0.0625, 0.875),
        output: gate(0.0, 0.5),
        mean_log_forget: half_life.map_or(0.0, |life| -2f64.ln() / life),
        floored,
        half_life,
        correlation: Correlations {
            hidden: Some(-0.625),
            cell: Some(0.5),
            mean: None,
            max: Some(0.25),
        },
    }
}

fn layer(direction: Direction) -> Layer {
    Layer {
        layer: 0,
        direction,
        units: vec![
            unit(0, Some(2.5), 0.0),
            unit(1, None, 0.0),
            unit(2, Some(300.0), 0.01),
        ],
        projected: Vec::new(),
    }
}

fn survey() -> Survey {
    let mut histogram = Histogram::new(2);
    histogram.half_width = 1.0;
    (histogram.counts[0][3], histogram.counts[1][20]) = (4, 2);
    Survey {
        texts: 6,
        tokens: 40,
        texts_without_token: 1,
        class_counts: Some(vec![4, 2]),
        activation: Activation::Hidden,
        layers: vec![layer(Direction::Forward), layer(Direction::Backward)],
        sentiment_units: vec![Ranked {
            layer: 0,
            direction: Direction::Backward,
            unit: 2,
            correlation: -0.625,
            histogram,
        }],
        matches: Vec::new(),
    }
}

fn query() -> Query {
    Query::Unit {
        layer: 0,
        direction: Direction::Forward,
        unit: 1,
    }
}

/// `a great film`, of which the last two words match.
fn sentence(text: &str, label: &str) -> Sentences {
    let word = |place: std::ops::Range<usize>, activation, matches| Word {
        word: text.get(place.clone()).unwrap_or_default().to_owned(),
        place,
        activation,
        matches,
    };
    Sentences {
        name: "highest",
        sentences: vec![Sentence {
            number: 3,
            score: 0.8,
            label: Some(label.to_owned()),
            text: text.to_owned(),
            words: vec![
                word(0..1, -0.4, false),
                word(2..7, 0.8, true),
                word(8..12, 0.6, true),
            ],
        }],
    }
}

struct Case {
    survey: Survey,
    query: Query,
    found: Vec<Sentences>,
    labels: Vec<String>,
    lstm: LstmConfig,
    word: &'static str,
}

fn case() -> Case {
    Case {
        survey: survey(),
        query: query(),
        found: vec![sentence("a great film!", "positive")],
        labels: vec!["negative".to_owned(), "positive".to_owned()],
        lstm: LstmConfig {
            bidirectional: true,
            ..LstmConfig::new(2, 3)
        },
        word: "model",
    }
}

impl Case {
    fn report(&self) -> UnitsReport<'_> {
        UnitsReport {
            model: Path::new(self.word),
            data: Path::new(self.word),
            version: self.word,
            dtype: "f32",
            device: "cpu".to_owned(),
            lstm: &self.lstm,
            pooling: Pooling::All,
            labels: &self.labels,
            survey: &self.survey,
            query: Some((
                &self.query,
                Asked {
                    span: Some(self.word),
                    context: Some(self.word),
                },
            )),
            found: &self.found,
        }
    }

    /// The page as it is written.
    fn written(&self) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        units_page(&path, &self.report()).unwrap();
        std::fs::read_to_string(path).unwrap()
    }
}

/// The x, or the y, of a series of a panel.
fn points(panel: &Panel, series: usize, of: fn(&(f64, f64)) -> f64) -> Vec<f64> {
    panel.series[series].points.iter().map(of).collect()
}

#[test]
fn every_unit_is_in_the_table_and_in_the_plots() {
    let html = case().written();
    let rows = html
        .split("<tr")
        .filter(|row| row.contains("scope=\"row\""));
    let rows: Vec<&str> = rows.collect();
    assert_eq!(rows.len(), 6);
    for row in &rows {
        assert_eq!(row.matches("<td>").count(), 11, "{row}");
        assert!(row.contains(">-0.625<") && row.contains("<td>-<"), "{row}");
    }
    assert!(rows[0].contains(">2.50<") && rows[1].contains(">infinite<"));
    assert!(rows[2].contains(">≤ 300.0<"), "{}", rows[2]);
    for name in ["layer 0, forward", "layer 0, backward"] {
        assert!(html.contains(&format!("scope=\"rowgroup\" colspan=\"12\">{name}<")));
    }

    assert_eq!(html.matches("<figure class=\"plot\"").count(), 3);
    let names: Vec<&str> = html
        .split("<option value=\"")
        .skip(1)
        .map(|option| option.split_once('>').unwrap().1)
        .map(|option| option.split_once('<').unwrap().0)
        .collect();
    assert_eq!(names, ["forget gate", "input gate", "output gate"]);
    let case = case();
    let gates = [
        gate_panel(&case.survey, "forget", |unit| unit.forget),
        gate_panel(&case.survey, "input", |unit| unit.input),
        gate_panel(&case.survey, "output", |unit| unit.output),
    ];
    assert_eq!(points(&gates[0], 1, |point| point.0), [0.0625; 3]);
    assert_eq!(points(&gates[0], 1, |point| point.1), [0.875; 3]);
    assert_eq!(points(&gates[1], 0, |point| point.1), [0.25; 3]);
    // Both axes have one scale, as small as holds all.
    for (panel, end) in gates.iter().zip([1.03, 0.2575, 0.515]) {
        for axis in [&panel.x, &panel.y] {
            assert!((axis.high - end).abs() < 1e-12, "{}", axis.high);
        }
    }
    let series = &gates[0].series[1];
    let said = [&series.lead, &series.template, &series.says[2]];
    assert_eq!(
        said,
        [
            "layer 0, backward, unit ",
            "{}\tforget gate below 0.1: {}\tabove 0.9: {}\thalf-life {} tokens",
            "2\t6.2 %\t87.5 %\t≤ 300.0"
        ]
    );
    assert!(html.contains(&series.says.join("\n")));
    // Shares of each label's texts, at the middles of their bins.
    let ranked = &case.survey.sentiment_units[0];
    let histogram = histogram_panel(ranked, &case.report());
    assert!(html.contains("data-name=\"layer 0, backward, unit 2: -0.625\""));
    assert_eq!(points(&histogram, 0, |point| point.1)[3], 1.0);
    assert_eq!(points(&histogram, 1, |point| point.1)[20], 1.0);
    assert_eq!(points(&histogram, 1, |point| point.0)[20], 0.28125);
    assert!(html.contains("4 of 4 texts, 100.0 %"));
    // What is infinite stands to the right of all else.
    let lives = points(&memory_panel(&case.survey), 0, |point| point.0);
    assert!(
        lives[1].is_finite() && lives[1] > lives[2] && lives[2] == 300.0,
        "{lives:?}"
    );
}

#[test]
fn words_have_their_values_and_those_that_match_are_marked() {
    let html = case().written();
    // The strongest of all words is 0.8.
    for word in [
        "<span class=\"down\" style=\"--s:50\" data-value=\"-0.400\">a</span> ",
        "<span class=\"up match\" style=\"--s:100\" data-value=\"+0.800\">great</span> ",
        "<span class=\"up match\" style=\"--s:75\" data-value=\"+0.600\">film</span>!",
    ] {
        assert!(html.contains(word), "{word}");
    }
    assert!(html.contains("class=\"words\" tabindex=\"0\""));
    assert!(html.contains("Sentences: hidden state of unit 1, layer 0, forward"));
    let mut span = case();
    span.query = Query::Span {
        layer: 0,
        directions: vec![Direction::Forward, Direction::Backward],
        vector: vec![1.0; 6],
        tokens: 2,
    };
    let html = span.written();
    // From the least, -0.4, to the most, 0.8.
    for word in [
        "--s:0\" data-value=\"-0.400",
        "--s:83\" data-value=\"+0.600",
    ] {
        assert!(html.contains(word), "{word}");
    }
    let title = "mean hidden state of “model” in “model”, layer 0, forward and backward";
    assert!(html.contains(&format!("Sentences: {title}")));
    span.found[0].sentences.clear();
    assert!(
        span.written()
            .contains("None: no text is as long as the span.")
    );
}

#[test]
fn text_and_page_say_the_same() {
    let mut case = case();
    let text = units_text(&case.report());
    for part in [
        "model on model: 6 texts, 40 tokens; plain engine, f32 on cpu; without a token, left out: 1",
        "sentiment units: correlation of the final hidden state with the label (negative 0, positive 1)",
        "highest: hidden state of unit 1, layer 0, forward",
        "+0.800  positive  a [great film]!",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    // Of three half-lives, 2.5, 300 and infinite.
    let layer = text.lines().find(|line| line.contains("backward")).unwrap();
    assert!(layer.ends_with("2.50   300.0  infinite"), "{layer}");
    case.survey.sentiment_units.clear();
    assert!(units_text(&case.report()).contains("never changes"));
    assert!(case.written().contains("never changes"));
    case.survey.class_counts = None;
    let text = units_text(&case.report());
    assert!(text.contains("longest memories") && text.contains("correlations are left out"));
    let first = text
        .lines()
        .skip_while(|line| *line != "longest memories")
        .nth(2);
    assert!(first.unwrap().ends_with("infinite"), "{text}");
    let html = case.written();
    assert!(html.contains("The texts have no labels") && !html.contains("Memory and label"));
}

#[test]
fn projected_states_have_rows_of_their_own() {
    let mut case = case();
    case.lstm.proj_size = 1;
    for layer in &mut case.survey.layers {
        layer.projected = vec![Projected {
            unit: 0,
            correlation: layer.units[0].correlation,
        }];
        for unit in &mut layer.units {
            unit.correlation.hidden = None;
        }
    }
    case.survey.sentiment_units[0].unit = 0;
    let html = case.written();
    assert_eq!(html.matches("scope=\"row\">projected 0<").count(), 2);
    assert!(html.contains("projected to 1"));
    // Gates are not those of the projected unit.
    let text = units_text(&case.report());
    let title = |line: &&str| line.starts_with("sentiment units");
    let row = text.lines().skip_while(|line| !title(line)).nth(2).unwrap();
    assert!(row.contains("-0.625") && row.ends_with('-'), "{row}");
    // Against half-lives stand the correlations of the cells.
    let memory = memory_panel(&case.survey);
    assert_eq!(points(&memory, 0, |point| point.1), [0.5; 3]);
}

#[test]
fn what_comes_from_files_is_text() {
    let mut case = case();
    case.word = HOSTILE;
    case.labels = vec![HOSTILE.to_owned(), "b".to_owned()];
    case.found = vec![sentence(HOSTILE, HOSTILE)];
    // A word that is all of it, and one between words.
    let whole = &mut case.found[0].sentences[0].words[1];
    whole.place = 0..HOSTILE.len();
    let mut between = sentence(HOSTILE, HOSTILE);
    between.sentences[0].words.truncate(1);
    case.found.push(between);
    case.query = Query::Span {
        layer: 0,
        directions: vec![Direction::Forward],
        vector: vec![1.0; 3],
        tokens: 2,
    };
    let html = case.written();
    assert!(!html.contains("<img"));
    assert!(!html.contains('\u{1b}'));
    // The page's script.
    assert_eq!(html.matches("</script>").count(), 1);
    let name = "&lt;/script&gt;&lt;img src=x&gt; &#34;&#39;&amp;$a$ \\u{1b}";
    assert!(html.contains(&format!("<title>Units of {name}</title>")));
    assert!(html.contains(&format!("</svg>{name}</button>")));
    assert!(html.contains(&format!("data-lead=\"{name}: \"")));
    let text = units_text(&case.report());
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn nothing_is_loaded_from_anywhere() {
    let html = case().written();
    assert!(html.contains("content=\"default-src 'none';"));
    // A file that is downloaded is made by the page.
    let html = html.replace("link.href = URL.createObjectURL(blob)", "");
    let html = html.replace("URL.revokeObjectURL(link.href)", "");
    for load in [
        "http:", "https:", "src=", "href", "url(", "@import", "fetch(", "XMLHttp", "import(",
    ] {
        assert!(!html.contains(load), "{load}");
    }
}

#[test]
fn a_page_weighs_under_500_kilobytes_and_says_what_it_leaves_out() {
    let page = |units: usize, correlation: fn(f64) -> f64| {
        let html = of_many_units(units, correlation).written();
        assert!(html.len() < 500_000, "{units}: {}", html.len());
        assert_eq!(html.matches("<tr><th scope=\"row\">").count(), 800);
        html
    };
    let row = |unit: usize| format!("<tr><th scope=\"row\">{unit}<td>");
    let all = page(400, |share| -0.9 * share);
    assert!(!all.contains("So that the page stays small"));
    let some = page(2048, |share| -0.9 * share);
    assert!(some.contains("the 800 of 4096 units whose activations correlate most"));
    assert_eq!(some.matches(&row(1648)).count(), 2);
    assert!(!some.contains(&row(1647)));
    // Of equal ones the first: all of them are of the forward direction.
    let equal = page(2048, |_| 0.9);
    assert!((0..800).all(|unit| equal.matches(&row(unit)).count() == 1));
}

/// Two directions of so many units, with the correlation at the share of those before.
fn of_many_units(units: usize, correlation: fn(f64) -> f64) -> Case {
    let mut case = case();
    for layer in &mut case.survey.layers {
        let one = layer.units[0];
        let unit = |unit: usize| {
            let share = unit as f64 / units as f64;
            let correlation = correlation(share);
            Unit {
                unit,
                forget: Saturation {
                    left: 0.3 * share,
                    right: 0.7 * share,
                },
                half_life: Some(1.0 + 2000.0 * share),
                correlation: Correlations {
                    hidden: Some(correlation),
                    cell: Some(-0.5 * correlation),
                    mean: Some(0.7 * correlation),
                    max: Some(-0.3 * correlation),
                },
                ..one
            }
        };
        layer.units = (0..units).map(unit).collect();
    }
    case.survey.sentiment_units = vec![case.survey.sentiment_units[0].clone(); 10];
    case
}
