//! Reads a runbook. Every fault of its form is found at once; what its steps mean together is for [`super::check`].

use std::ops::Range;
use std::time::Duration;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::anchor::anchors;
use super::header::{Lines, header, read_duration, read_severity};
use super::model::{
    Changes, Condition, Expectation, Header, Link, Runbook, RunbookFault, RunbookPhase, Step, StepAction,
};
use crate::model::Sha256Hex;
use crate::text::suggest;

const ATTRIBUTES: [&str; 7] = ["step", "deadline", "changes", "when", "manual", "decision", "tell"];
/// For a step that does not say.
const DEADLINE: Duration = Duration::from_secs(15 * 60);
const EXPECT: &str = "**Expect:**";
const IF_NOT: &str = "**If not:**";

/// Reads a runbook as far as its faults allow. Without faults there is a runbook.
pub fn parse(name: &str, file: &str, text: &str) -> (Option<Runbook>, Vec<RunbookFault>) {
    let mut reader = Reader::new(text);
    reader.read();
    let Reader { lines, mut faults, title, header, steps, links, headings, .. } = reader;
    if title.is_none() {
        lines.fault(&mut faults, 0, "it has no title", "begin it with a heading: `# The database is lost`");
    }
    let header = header.unwrap_or_else(|| {
        let hint = "a fenced block ```toml runbook with `severity`, `trigger` and `takes`";
        lines.fault(&mut faults, 0, "it has no header", hint);
        None
    });
    if steps.is_empty() {
        let hint = "a step is a heading `###`, and a fenced block that begins with ```sh step=NAME";
        lines.fault(&mut faults, 0, "it has no steps", hint);
    }
    let runbook = header.map(|header: Header| Runbook {
        name: name.to_owned(),
        file: file.to_owned(),
        text: text.to_owned(),
        sha256: Sha256Hex::digest(text.as_bytes()),
        title: title.unwrap_or_default(),
        header,
        steps,
        links,
        anchors: anchors(&headings),
    });
    (runbook, faults)
}

/// A step whose block was read, and whose expectation may still follow.
struct OpenStep {
    step: Step,
    has_expectation: bool,
}

struct Reader<'t> {
    text: &'t str,
    lines: Lines<'t>,
    faults: Vec<RunbookFault>,
    title: Option<String>,
    /// The inner one is absent where it is faulty.
    header: Option<Option<Header>>,
    steps: Vec<Step>,
    links: Vec<Link>,
    headings: Vec<String>,
    phase: Option<RunbookPhase>,
    /// The heading of the next step, and where its prose begins.
    heading: Option<(String, usize)>,
    open: Option<OpenStep>,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            lines: Lines(text),
            faults: vec![],
            title: None,
            header: None,
            steps: vec![],
            links: vec![],
            headings: vec![],
            phase: None,
            heading: None,
            open: None,
        }
    }

    fn fault(&mut self, at: usize, message: impl Into<String>, hint: impl Into<String>) {
        self.lines.fault(&mut self.faults, at, message, hint);
    }

    fn read(&mut self) {
        let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
        let mut events = Parser::new_ext(self.text, options).into_offset_iter();
        let mut depth = 0_usize;
        while let Some((event, range)) = events.next() {
            match event {
                Event::Start(Tag::Heading { level, .. }) => {
                    let mut title = String::new();
                    for (event, range) in events.by_ref() {
                        match event {
                            Event::End(TagEnd::Heading(_)) => break,
                            Event::Text(text) | Event::Code(text) => title.push_str(&text),
                            Event::Start(Tag::Link { dest_url, .. }) => self.link(&dest_url, &range),
                            _ => {}
                        }
                    }
                    self.heading(level, title, &range);
                }
                Event::Start(Tag::CodeBlock(kind)) => {
                    let mut code = String::new();
                    for (event, _) in events.by_ref() {
                        match event {
                            Event::End(TagEnd::CodeBlock) => break,
                            Event::Text(text) => code.push_str(&text),
                            _ => {}
                        }
                    }
                    if let CodeBlockKind::Fenced(info) = kind {
                        self.block(&info, code, &range, depth > 0);
                    }
                }
                Event::Start(Tag::Paragraph) => self.paragraph(&range),
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    self.link(&dest_url, &range);
                }
                Event::Start(Tag::Item | Tag::BlockQuote(_)) => depth += 1,
                Event::End(TagEnd::Item | TagEnd::BlockQuote(_)) => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        self.close();
    }

    fn link(&mut self, target: &str, range: &Range<usize>) {
        self.links.push(Link { target: target.to_owned(), line: self.lines.of(range.start) });
    }

    fn heading(&mut self, level: HeadingLevel, title: String, range: &Range<usize>) {
        self.close();
        self.headings.push(title.clone());
        self.heading = None;
        match level {
            HeadingLevel::H1 if self.title.is_none() => self.title = Some(title),
            HeadingLevel::H1 => self.fault(range.start, "it has two titles", "a runbook has one heading `#`"),
            HeadingLevel::H2 => {
                let known = RunbookPhase::ALL.into_iter().find(|phase| title == phase.as_str());
                let last = self.steps.iter().map(|step| step.phase);
                let last = last.filter(|phase| *phase != RunbookPhase::Communication).max();
                if let (Some(phase), Some(last)) = (known, last)
                    && phase != RunbookPhase::Communication
                    && phase < last
                {
                    let message = format!("phase `{phase}` follows phase `{last}`");
                    self.fault(range.start, message, "the order is Detection, Assessment, Recovery, Verification, Lessons learned; Communication may be anywhere");
                }
                self.phase = known;
            }
            HeadingLevel::H3 => self.heading = Some((title, range.end)),
            _ => {}
        }
    }

    /// Ends the step that was begun.
    fn close(&mut self) {
        let Some(OpenStep { step, has_expectation }) = self.open.take() else { return };
        if !has_expectation {
            self.faults.push(RunbookFault {
                line: step.line,
                message: format!("step `{}` has no expectation", step.name),
                hint: format!("write `{EXPECT} …` below its block: what is seen when it worked"),
            });
        }
        if step.if_not.is_none() && matches!(step.action, StepAction::Run { .. }) {
            self.faults.push(RunbookFault {
                line: step.line,
                message: format!("step `{}` does not say what to do when it fails", step.name),
                hint: format!("write `{IF_NOT} …` below its expectation"),
            });
        }
        self.steps.push(step);
    }

    fn paragraph(&mut self, range: &Range<usize>) {
        let text = self.text.get(range.clone()).unwrap_or_default();
        let Some(open) = &mut self.open else { return };
        let text = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        let (expect, if_not) = match (text.strip_prefix(EXPECT), text.find(IF_NOT)) {
            (Some(rest), None) => (Some(rest), None),
            (Some(rest), Some(_)) => match rest.split_once(IF_NOT) {
                Some((expect, if_not)) => (Some(expect), Some(if_not)),
                None => (Some(rest), None),
            },
            (None, Some(0)) => (None, text.strip_prefix(IF_NOT)),
            (None, _) => return,
        };
        if let Some(expect) = expect {
            open.has_expectation = true;
            open.step.expect = expectation(expect.trim());
        }
        if let Some(if_not) = if_not {
            open.step.if_not = Some(if_not.trim().to_owned());
        }
    }

    fn block(&mut self, info: &str, code: String, range: &Range<usize>, is_nested: bool) {
        let words: Vec<&str> = info.split_whitespace().collect();
        if words == ["toml", "runbook"] {
            if self.header.is_some() {
                return self.fault(range.start, "it has two headers", "keep the first");
            }
            let first = self.lines.of(range.start) + 1;
            self.header = Some(header(&code, first, &mut self.faults));
            return;
        }
        let attributes = words.get(1..).unwrap_or_default();
        let name = attributes.iter().find_map(|word| word.strip_prefix("step="));
        let Some(name) = name else {
            let mut keys = attributes.iter().map(|word| word.split('=').next().unwrap_or_default());
            if keys.any(|key| ATTRIBUTES.contains(&key)) {
                self.fault(range.start, "a step has no name", "begin its block with ```sh step=NAME");
            }
            return;
        };
        self.step(words[0], name, attributes, code, range, is_nested);
    }

    fn step(
        &mut self,
        language: &str,
        name: &str,
        attributes: &[&str],
        code: String,
        range: &Range<usize>,
        is_nested: bool,
    ) {
        let line = self.lines.of(range.start);
        if is_nested {
            self.fault(
                range.start,
                format!("step `{name}` is in a list or quote"),
                "move its block out of it",
            );
        }
        if let Some(open) = &self.open {
            let message = format!("step `{name}` follows step `{}` under one heading", open.step.name);
            self.fault(range.start, message, "a step is one action: give each its own heading `###`");
            self.close();
        }
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(is_name) {
            let hint = "use a-z, 0-9 and `-`, beginning with a letter";
            self.fault(range.start, format!("`{name}` is not a name of a step"), hint);
        }
        let (title, prose) = match self.heading.take() {
            Some((title, from)) => (title, self.text.get(from..range.start).unwrap_or_default().trim()),
            None => {
                let hint = "put `### What is done` above its block";
                self.fault(range.start, format!("step `{name}` has no heading"), hint);
                (name.to_owned(), "")
            }
        };
        let prose = prose.to_owned();
        let phase = self.phase.unwrap_or_else(|| {
            let phases: Vec<&str> = RunbookPhase::ALL.iter().map(|phase| phase.as_str()).collect();
            let message = format!("step `{name}` is in no phase");
            let hint = format!("put it below one of these headings `##`: {}", phases.join(", "));
            self.lines.fault(&mut self.faults, range.start, message, hint);
            RunbookPhase::Recovery
        });
        let read = self.attributes(language, name, attributes, code, range);
        let Some((action, deadline, when)) = read else { return };
        let step = Step {
            name: name.to_owned(),
            title,
            phase,
            line,
            prose,
            action,
            deadline,
            when,
            expect: expectation(""),
            if_not: None,
        };
        self.open = Some(OpenStep { step, has_expectation: false });
    }

    fn attributes(
        &mut self,
        language: &str,
        name: &str,
        attributes: &[&str],
        code: String,
        range: &Range<usize>,
    ) -> Option<(StepAction, Duration, Option<Condition>)> {
        let at = range.start;
        let (mut deadline, mut changes, mut when) = (DEADLINE, None, None);
        let mut kinds: Vec<StepAction> = Vec::new();
        for word in attributes {
            match word.split_once('=') {
                Some(("step", _)) => {}
                None if *word == "manual" => kinds.push(StepAction::Manual { text: code.trim().to_owned() }),
                Some(("deadline", text)) => match read_duration(text) {
                    Some(read) => deadline = read,
                    None => {
                        let message = format!("step `{name}`: `{text}` is not a duration");
                        self.fault(at, message, "write a number and a unit, like `90s`, `15m` or `4h`");
                    }
                },
                Some(("changes", "production")) => changes = Some(Changes::Production),
                Some(("changes", "target")) => changes = Some(Changes::Target),
                Some(("changes", other)) => {
                    let message = format!("step `{name}`: `changes={other}` is unknown");
                    self.fault(at, message, "`production` or `target`; what changes nothing says nothing");
                }
                Some(("when", text)) => match text.split_once(':') {
                    Some((decision, answer)) if !decision.is_empty() && !answer.is_empty() => {
                        when = Some(Condition { decision: decision.to_owned(), answer: answer.to_owned() });
                    }
                    _ => {
                        let message = format!("step `{name}`: `when={text}` is not a condition");
                        self.fault(at, message, "write `when=DECISION:ANSWER`");
                    }
                },
                Some(("decision", text)) => {
                    let answers: Vec<String> = text.split('|').map(str::to_owned).collect();
                    let is_word = |text: &String| {
                        let is_letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                        !text.is_empty() && text.chars().all(is_letter)
                    };
                    if answers.len() < 2 || !answers.iter().all(is_word) {
                        let hint = "write at least two words, like `decision=restore|wait`";
                        self.fault(at, format!("step `{name}` has no answers to choose from"), hint);
                    }
                    kinds.push(StepAction::Decide { answers });
                }
                Some(("tell", text)) => match read_severity(text) {
                    Some(severity) => {
                        kinds.push(StepAction::Tell { severity, template: code.trim().to_owned() })
                    }
                    None => {
                        let message = format!("step `{name}`: `{text}` is not a severity");
                        self.fault(at, message, "write `tell=p1` to `tell=p4`");
                    }
                },
                other => {
                    let key = other.map_or(*word, |(key, _)| key);
                    let message = format!("step `{name}`: unknown attribute `{key}`");
                    self.fault(at, message, suggest("the attributes", key, &ATTRIBUTES));
                }
            }
        }
        if code.trim().is_empty() && !matches!(kinds.as_slice(), [StepAction::Decide { .. }]) {
            self.fault(at, format!("step `{name}` is empty"), "say in its block what is done");
        }
        let action = match (language, kinds.len()) {
            ("sh", 0) => {
                StepAction::Run { script: code.trim_end().to_owned(), changes: changes.unwrap_or_default() }
            }
            ("text", 1) => kinds.remove(0),
            (_, 2..) => {
                let message = format!("step `{name}` is several things at once");
                self.fault(at, message, "give it one of `manual`, `decision` and `tell`");
                return None;
            }
            ("sh", _) => {
                let message = format!("step `{name}` is a command, and is for people");
                self.fault(at, message, "blocks with `manual`, `decision` or `tell` begin with ```text");
                return None;
            }
            ("text", _) => {
                let message = format!("step `{name}` does not say who does it");
                self.fault(
                    at,
                    message,
                    "add `manual`, `decision=A|B` or `tell=p1`; commands begin with ```sh",
                );
                return None;
            }
            (other, _) => {
                let message = format!("step `{name}`: nothing runs a block of `{other}`");
                self.fault(at, message, "commands begin with ```sh, what people do with ```text");
                return None;
            }
        };
        if changes.is_some() && !matches!(action, StepAction::Run { .. }) {
            let message = format!("step `{name}` runs no command that changes something");
            self.fault(at, message, "remove `changes`");
        }
        Some((action, deadline, when))
    }
}

/// Reads `exit 0 or 21; the rest is for people`.
fn expectation(text: &str) -> Expectation {
    let statuses = text.strip_prefix("exit ").map(|rest| {
        let end = rest.find([';', '.', ':']).unwrap_or(rest.len());
        let words = rest[..end].split([' ', ',', '/']).filter(|word| !matches!(*word, "" | "or" | "and"));
        words.map_while(|word| word.parse().ok()).collect::<Vec<i32>>()
    });
    let statuses = statuses.filter(|statuses| !statuses.is_empty()).unwrap_or_else(|| vec![0]);
    Expectation { statuses, text: text.to_owned() }
}
