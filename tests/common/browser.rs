//! Pages in a headless Chromium: what a person would do with them.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// In front of everything on the page: notes what goes wrong.
const LISTENERS: &str = "<script>
window.wrong = [];
addEventListener('error', (event) => wrong.push(`error: ${event.message}`));
addEventListener('unhandledrejection', (event) => wrong.push(`rejection: ${event.reason}`));
document.addEventListener('securitypolicyviolation', (event) => wrong.push(`policy: ${event.violatedDirective} ${event.blockedURI}`));
for (const kind of ['error', 'warn']) console[kind] = (...text) => wrong.push(`console.${kind}: ${text.join(' ')}`);
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const hover = async (element, x, y) => {
  const box = element.getBoundingClientRect();
  const at = { clientX: box.left + x * box.width, clientY: box.top + y * box.height, bubbles: true, view: window };
  for (const kind of ['pointerover', 'pointermove']) element.dispatchEvent(new PointerEvent(kind, at));
  await wait(500);
};
const press = async (element, key) => {
  element.focus();
  element.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
  await wait(300);
};
</script>";

/// Opens the page, runs `script` (the body of an async function) on it once it has
/// loaded, and gives what that returns. Fails if the page noted an error, asked for
/// anything from elsewhere, or its policy stopped it from that.
pub fn open(page: &Path, script: &str) -> Value {
    let browser = std::env::var("CELLWAY_CHROMIUM").expect("set CELLWAY_CHROMIUM to Chromium");
    let html = std::fs::read_to_string(page).unwrap();
    let (head, rest) = html.split_once("<head>").expect("a head");
    let asks = "performance.getEntriesByType('resource').map((entry) => entry.name)";
    let last = format!(
        "<script>addEventListener('load', async () => {{
let result;
try {{ result = await (async () => {{ await wait(1000); {script} }})(); }} catch (error) {{ wrong.push(`script: ${{error}}`); }}
const seen = document.createElement('pre');
seen.id = 'seen-by-the-test';
const bytes = new TextEncoder().encode(JSON.stringify({{ result, wrong, asked: {asks} }}));
seen.textContent = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
document.body.append(seen);
}});</script>"
    );
    let whole = format!("{head}<head>{LISTENERS}{rest}{last}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.html");
    std::fs::write(&path, whole).unwrap();
    // On a machine that is busy Chromium may print the page before its script is done.
    let shown = (1..=3).map(|run| {
        let output = Command::new(&browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
            .args(["--window-size=1200,2400", "--virtual-time-budget=20000"])
            .arg(format!(
                "--user-data-dir={}",
                folder.path().join(format!("profile-{run}")).display()
            ))
            .arg(format!("file://{}", path.display()))
            .output()
            .expect("Chromium starts");
        let dom = String::from_utf8_lossy(&output.stdout);
        let seen = dom.split_once("<pre id=\"seen-by-the-test\">");
        let seen = seen.and_then(|(_, rest)| rest.split_once("</pre>"));
        seen.map(|(seen, _)| seen.to_owned())
    });
    let seen = shown.flatten().next();
    let seen = seen.expect("a page whose script comes to its end");
    let byte = |at: usize| u8::from_str_radix(&seen[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..seen.len()).step_by(2).map(byte).collect();
    let seen: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(seen["wrong"], serde_json::json!([]), "{}", page.display());
    assert_eq!(seen["asked"], serde_json::json!([]), "{}", page.display());
    seen["result"].clone()
}
