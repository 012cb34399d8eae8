use serde_json::Value;

use super::*;
use crate::lstm::LstmConfig;
use crate::report::page::library;
use crate::report::{Asked, units_text};
use crate::units::{
    Direction, Histogram, Projected, Query, Ranked, Saturation, Sentence, Sentences, Unit, Word,
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

    /// The page without the library of plots.
    fn written(&self) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        units_page(&path, &self.report()).unwrap();
        let html = std::fs::read_to_string(path).unwrap();
        assert_eq!(html.matches(&library()).count(), 1);
        html.replace(&library(), "")
    }
}

/// The figures of each plot, as the page's script reads them.
fn plots_of(html: &str) -> Vec<Value> {
    let scripts = html.split("<script type=\"application/json\">").skip(1);
    let json = scripts.map(|rest| rest.split_once("</script>").unwrap().0);
    json.map(|json| serde_json::from_str(json).unwrap())
        .collect()
}

fn points(figure: &Value, trace: usize, key: &str) -> Vec<f64> {
    let points = figure["plot"]["data"][trace][key].as_array().unwrap();
    points.iter().map(|point| point.as_f64().unwrap()).collect()
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
        assert_eq!(row.matches("</td>").count(), 11, "{row}");
        assert!(row.contains(">-0.625<") && row.contains(">-<"), "{row}");
    }
    assert!(rows[0].contains(">2.50<") && rows[1].contains(">infinite<"));
    assert!(rows[2].contains(">≤ 300.0<"), "{}", rows[2]);
    for name in ["layer 0, forward", "layer 0, backward"] {
        assert!(html.contains(&format!("scope=\"rowgroup\" colspan=\"12\">{name}<")));
    }

    let plots = plots_of(&html);
    assert_eq!(plots.len(), 3);
    let names: Vec<&str> = (0..3)
        .map(|n| plots[0][n]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["forget gate", "input gate", "output gate"]);
    assert_eq!(points(&plots[0][0], 1, "x"), [0.0625; 3]);
    assert_eq!(points(&plots[0][0], 1, "y"), [0.875; 3]);
    assert_eq!(points(&plots[0][1], 0, "y"), [0.25; 3]);
    // Both axes have one scale, as small as holds all.
    for (figure, end) in [
        (&plots[0][0], 1.03),
        (&plots[0][1], 0.2575),
        (&plots[0][2], 0.515),
    ] {
        for axis in ["xaxis", "yaxis"] {
            let range = figure["plot"]["layout"][axis]["range"][1].as_f64().unwrap();
            assert!((range - end).abs() < 1e-12, "{range}");
        }
    }
    let text = plots[0][0]["plot"]["data"][1]["text"][2].as_str().unwrap();
    assert_eq!(
        text,
        "<b>layer 0, backward, unit 2</b><br>forget gate below 0.1: 6.2 %\
         <br>above 0.9: 87.5 %<br>half-life ≤ 300.0 tokens"
    );
    // Shares of each label's texts, at the middles of their bins.
    let histogram = &plots[1][0];
    assert_eq!(histogram["name"], "layer 0, backward, unit 2: -0.625");
    assert_eq!(points(histogram, 0, "y")[3], 1.0);
    assert_eq!(points(histogram, 1, "y")[20], 1.0);
    assert_eq!(points(histogram, 1, "x")[20], 0.28125);
    // What is infinite stands to the right of all else.
    let lives = points(&plots[2][0], 0, "x");
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
    assert_eq!(points(&plots_of(&html)[2][0], 0, "y"), [0.5; 3]);
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
    // Three plots, and the page's script.
    assert_eq!(html.matches("</script>").count(), 4);
    let plots = plots_of(&html);
    let name = "&lt;/script&gt;&lt;img src=x&gt; &#34;&#39;&amp;$a$ \\u{1b}";
    assert!(html.contains(&format!("<title>Units of {name}</title>")));
    assert_eq!(plots[1][0]["plot"]["data"][0]["name"], name);
    for text in plots.iter().map(Value::to_string) {
        assert!(!text.contains("<img"));
    }
    let text = units_text(&case.report());
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn nothing_is_loaded_from_anywhere() {
    let html = case().written();
    assert!(html.contains("content=\"default-src 'none';"));
    for load in [
        "http:", "https:", "src=", "href", "url(", "@import", "fetch(", "XMLHttp", "import(",
    ] {
        assert!(!html.contains(load), "{load}");
    }
}
