use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::{TracePage, trace_page};
use crate::lstm::{Init, Lstm, LstmConfig};
use crate::random::Stream;
use crate::trace::{Recording, vectors};

fn recording(units: i64, steps: i64) -> Recording {
    let config = LstmConfig {
        batch_first: true,
        bidirectional: true,
        ..LstmConfig::new(4, units)
    };
    let lstm = Lstm::new(config, Init::default(), Stream::new(1, "page")).unwrap();
    let x = Tensor::arange(steps * 4, (Kind::Float, Device::Cpu)).sin();
    vectors(&lstm, &x.view([steps, 4])).unwrap()
}

/// The page as it is written, and the units of its first direction.
fn written(recording: &Recording, window: usize) -> (String, usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.html");
    let page = TracePage {
        checkpoint: Path::new("model"),
        lstm: Some("lstm"),
        version: "1",
        dtype: "f32",
        device: "cpu".to_owned(),
        recording,
        places: &recording.decisive(3),
        named: false,
        directions: &[0, 1],
        window,
    };
    trace_page(&path, &page).unwrap();
    let html = std::fs::read_to_string(path).unwrap();
    let (_, data) = html.split_once("id=\"trace\">").unwrap();
    let (data, _) = data.split_once("</script>").unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    let units = data["directions"][0]["units"].as_array().unwrap().len();
    (html, units)
}

#[test]
fn a_page_weighs_under_500_kilobytes_and_says_what_it_leaves_out() {
    let long = recording(64, 220);
    let (html, units) = written(&long, 200);
    assert!(html.len() < 500_000, "{}", html.len());
    assert!((3..64).contains(&units), "{units}");
    assert!(html.contains(&format!("it has the {units} most decisive of 64 units")));
    assert!(html.contains("… 20 steps …"));
    let short = recording(64, 12);
    let (html, units) = written(&short, 200);
    assert!(html.len() < 300_000, "{}", html.len());
    assert_eq!(units, 64);
    assert!(!html.contains("most decisive of"));
}

#[test]
fn nothing_is_loaded_from_anywhere() {
    let (html, _) = written(&recording(3, 5), 4);
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
