//! A browser without a window, which says how pages look in it.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use super::Outcome;

/// How long it may take for one page.
const DEADLINE: Duration = Duration::from_secs(120);

/// Debian's Chromium, with a profile that goes with the test.
pub(crate) struct Browser {
    profile: tempfile::TempDir,
}

/// The colours that the reader prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Light,
    Dark,
}

/// How a page looks, and what was said on the browser's console: a script that was refused, a file that was not found.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) looks: Vec<Look>,
    pub(crate) complaints: Vec<String>,
}

/// How a page looks at one width.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Look {
    pub(crate) width: u32,
    /// Pixels that do not fit, of the page and of what scrolls in it.
    pub(crate) overflow: i64,
    pub(crate) background: String,
    /// The text that is hardest to read, and its contrast.
    pub(crate) contrast: f64,
    pub(crate) faintest: String,
    /// Characters that are shown.
    pub(crate) length: u64,
}

/// Shows the page in frames of several widths and measures it: the page itself may run no script.
const MEASURE: &str = r#"<!DOCTYPE html><meta charset="utf-8"><body><script>
const widths = WIDTHS, looks = [];
const rgb = (color) => (color.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
const light = (color) => {
  const [r, g, b] = rgb(color).map((v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
  return .2126 * r + .7152 * g + .0722 * b;
};
function behind(element, style) {
  for (let e = element; e; e = e.parentElement) {
    const back = style(e).backgroundColor, parts = rgb(back);
    if (parts.length < 4 || parts[3] === 1) return back;
  }
  return 'rgb(255, 255, 255)';
}
function look(frame, width) {
  const page = frame.contentDocument, root = page.documentElement;
  const style = (e) => frame.contentWindow.getComputedStyle(e);
  let overflow = root.scrollWidth - root.clientWidth, contrast = 21, faintest = '';
  for (const e of page.body.querySelectorAll('*')) {
    if (!e.closest('svg') && style(e).overflowX === 'auto') overflow = Math.max(overflow, e.scrollWidth - e.clientWidth);
    const text = [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data.trim()).join('');
    if (!text || e.closest('svg')) continue;
    const [a, b] = [light(style(e).color), light(behind(e, style))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < contrast) [contrast, faintest] = [ratio, text];
  }
  const length = page.body.innerText.length;
  looks.push({ width, overflow, background: style(page.body).backgroundColor, contrast, faintest, length });
  if (looks.length === widths.length) document.title = 'measured', document.body.textContent = 'LOOKS' + JSON.stringify(looks) + 'END';
}
for (const width of widths) {
  const frame = document.createElement('iframe');
  frame.width = width; frame.height = 900;
  frame.onload = () => look(frame, width);
  frame.src = PAGE;
  document.body.append(frame);
}
</script>"#;

impl Browser {
    pub(crate) fn new() -> Outcome<Self> {
        Ok(Self { profile: super::scratch::folder()? })
    }

    async fn run(&self, options: &[String], page: &Path) -> Outcome<Output> {
        let mut command = tokio::process::Command::new("chromium");
        command
            .env("HOME", self.profile.path())
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"])
            .args(["--no-first-run", "--disable-dev-shm-usage", "--enable-logging=stderr"])
            .args(["--hide-scrollbars", "--allow-file-access-from-files"])
            .arg(format!("--user-data-dir={}", self.profile.path().join("profile").display()))
            .args(options)
            .arg(format!("file://{}", page.display()))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(DEADLINE, command.output()).await;
        let output = output.map_err(|_| format!("chromium did not end in {DEADLINE:?}"))?;
        output.map_err(|error| {
            format!("no chromium ({error}): `.ci/install test`, the first step of `make test`, installs it")
                .into()
        })
    }

    /// How the page looks at these widths.
    pub(crate) async fn shown(&self, page: &Path, scheme: Scheme, widths: &[u32]) -> Outcome<Shown> {
        let address = serde_json::to_string(&format!("file://{}", page.display()))?;
        let script = MEASURE.replace("WIDTHS", &format!("{widths:?}")).replace("PAGE", &address);
        let frames = self.profile.path().join("frames.html");
        std::fs::write(&frames, script)?;
        let options = [scheme.option(), "--dump-dom".to_owned(), "--virtual-time-budget=20000".to_owned()];
        let output = self.run(&options, &frames).await?;
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        let looks = shown.split_once("LOOKS").and_then(|(_, rest)| rest.split_once("END"));
        let (looks, _) = looks.ok_or_else(|| format!("nothing was measured: {output:?}"))?;
        let looks = looks.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let complaints = said.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
        Ok(Shown { looks: serde_json::from_str(&looks)?, complaints })
    }

    /// Prints the page, and returns the PDF.
    pub(crate) async fn pdf(&self, page: &Path) -> Outcome<PathBuf> {
        let pdf = page.with_extension("pdf");
        let to = format!("--print-to-pdf={}", pdf.display());
        self.run(&[to, "--no-pdf-header-footer".to_owned()], page).await?;
        Ok(pdf)
    }

    /// Takes a picture, for those who want to see it.
    pub(crate) async fn picture(
        &self,
        page: &Path,
        scheme: Scheme,
        size: (u32, u32),
        to: &Path,
    ) -> Outcome<()> {
        let window = format!("--window-size={},{}", size.0, size.1);
        self.run(&[scheme.option(), window, format!("--screenshot={}", to.display())], page).await?;
        Ok(())
    }
}

impl Scheme {
    fn option(self) -> String {
        let number = if self == Self::Dark { 0 } else { 1 };
        format!("--blink-settings=preferredColorScheme={number}")
    }
}
