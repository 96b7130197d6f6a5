//! The person at the terminal, or the lines of stdin.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use async_trait::async_trait;

use crate::cli::output::Output;
use crate::cli::style;
use crate::platform::CancellationToken;
use crate::report::plain;
use crate::runbook::{
    Appended, CommandEnd, IncidentEvent, NoReply, Operator, Question, QuestionKind, Reply, SeverityWord,
    StepAction,
};
use crate::text::{format_duration, format_time, quoted_list};

/// Asks on stderr, and reads answers from stdin.
pub(super) struct StdinOperator {
    pub(super) output: Output,
    pub(super) cancel: CancellationToken,
    /// Said once for each repository, until it is back.
    away: Vec<String>,
    shown: String,
}

impl StdinOperator {
    pub(super) fn new(output: Output, cancel: CancellationToken) -> Self {
        Self { output, cancel, away: vec![], shown: String::new() }
    }

    /// Asks for a line; `None`: there is none.
    pub(super) async fn line(&self, prompt: &str) -> Result<String, NoReply> {
        let name = style::NAME;
        {
            let mut stderr = anstream::stderr().lock();
            let _gone = write!(stderr, "{name}{prompt}{name:#} ");
            let _gone = stderr.flush();
        }
        let read = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line);
            read.ok().filter(|bytes| *bytes > 0).map(|_| line)
        });
        let line = tokio::select! {
            line = read => line.ok().flatten(),
            () = self.cancel.cancelled() => return Err(NoReply::Interrupted),
        };
        if !std::io::stdin().is_terminal() {
            let _gone = writeln!(anstream::stderr());
        }
        // The same signal may end the pipe.
        if self.cancel.is_cancelled() {
            return Err(NoReply::Interrupted);
        }
        line.map(|line| line.trim().to_owned()).ok_or(NoReply::NoOperator)
    }

    fn say(&self, text: impl AsRef<str>) {
        let _gone = writeln!(anstream::stderr(), "{}", text.as_ref());
    }

    /// Shows a step whole, once.
    fn show(&mut self, question: &Question<'_>) {
        let step = question.step;
        if self.shown == step.name {
            return;
        }
        self.shown.clone_from(&step.name);
        let (strong, faint, warn) = (style::STRONG, style::FAINT, style::WARN);
        self.say(format!(
            "\n{strong}[{}/{}] {}: {}{strong:#} {faint}(step {}, {}){faint:#}",
            question.number,
            question.total,
            step.phase,
            plain(&step.title),
            step.name,
            plain(&question.position)
        ));
        if !step.prose.is_empty() {
            self.say(plain(&step.prose));
        }
        if !matches!(step.action, StepAction::Decide { .. }) {
            for line in plain(&question.text).lines() {
                self.say(format!("  {faint}|{faint:#} {line}"));
            }
        }
        if !step.expect.text.is_empty() {
            self.say(format!("{faint}expect:{faint:#} {}", plain(&step.expect.text)));
        }
        if step.changes_production() {
            self.say(format!("{warn}This changes production.{warn:#}"));
        }
        self.say(format!("{faint}within {}{faint:#}", format_duration(step.deadline)));
    }
}

/// Returns the question in one line.
fn prompt(question: &Question<'_>) -> String {
    let (what, first) = match (&question.kind, &question.step.action) {
        (QuestionKind::Do, StepAction::Run { .. }) => (String::new(), "run | done NOTE"),
        (QuestionKind::Do, StepAction::Tell { severity, .. }) => {
            (format!("Send it as {}? ", SeverityWord::from(*severity).as_str()), "run | done NOTE")
        }
        (QuestionKind::Do, StepAction::Manual { .. }) => (String::new(), "done NOTE"),
        (QuestionKind::Do, StepAction::Decide { answers }) => {
            let answers = answers.join(" | ");
            return format!("{answers} (and why) | skip REASON | pause >");
        }
        (QuestionKind::Unfinished { since, on }, _) => {
            let since = format_time(*since);
            (format!("It began at {since} on {on}, and its end is unknown. "), "run again | done NOTE")
        }
        (QuestionKind::Unexpected(end), _) => (format!("Not as expected: {end}. "), "run again | done NOTE"),
    };
    format!("{what}{first} | skip REASON | pause >")
}

/// Reads an answer; `Err`: what to say instead.
pub(super) fn read_reply(line: &str, question: &Question<'_>) -> Result<Reply, String> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim().to_owned();
    if let StepAction::Decide { answers } = &question.step.action
        && answers.iter().any(|answer| answer == word)
    {
        if rest.is_empty() {
            return Err(format!("say why, too: `{word} REASON`"));
        }
        return Ok(Reply::Answer { answer: word.to_owned(), why: rest });
    }
    let is_manual = question.step.needs_person();
    let is_decision = matches!(question.step.action, StepAction::Decide { .. });
    match word.to_lowercase().as_str() {
        "run" | "r" if !is_manual => Ok(Reply::Run),
        "done" | "d" if !is_decision => Ok(Reply::Done { note: rest }),
        "skip" | "s" if rest.is_empty() => Err("say why it is skipped: `skip REASON`".to_owned()),
        "skip" | "s" => Ok(Reply::Skip { why: rest }),
        "pause" | "p" | "abort" | "quit" | "q" => Ok(Reply::Pause),
        _ => match &question.step.action {
            StepAction::Decide { answers } => {
                let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
                Err(format!("answer one of {}, and why", quoted_list(&answers)))
            }
            StepAction::Manual { .. } => Err("answer `done`, `skip REASON` or `pause`".to_owned()),
            _ => Err("answer `run`, `done`, `skip REASON` or `pause`".to_owned()),
        },
    }
}

#[async_trait]
impl Operator for StdinOperator {
    async fn ask(&mut self, question: &Question<'_>) -> Result<Reply, NoReply> {
        self.show(question);
        if let (QuestionKind::Unexpected(_), Some(if_not)) = (&question.kind, &question.step.if_not) {
            let warn = style::WARN;
            self.say(format!("{warn}if not:{warn:#} {}", plain(if_not)));
        }
        loop {
            let line = self.line(&prompt(question)).await?;
            match read_reply(&line, question) {
                Ok(reply) => return Ok(reply),
                Err(why) => self.say(why),
            }
        }
    }

    fn begins(&mut self, question: &Question<'_>) {
        self.show(question);
    }

    fn ended(&mut self, event: &IncidentEvent) {
        let (good, bad, warn) = (style::GOOD, style::BAD, style::WARN);
        match event {
            IncidentEvent::Ended { seconds, end, is_expected, .. } => {
                let took = crate::report::lasting(*seconds);
                match is_expected {
                    true => self.say(format!("{good}as expected{good:#}: {end}, after {took}")),
                    false => self.say(format!("{bad}not as expected{bad:#}: {end}, after {took}")),
                }
                if matches!(end, CommandEnd::Deadline) {
                    self.say("The deadline of the step was reached.");
                }
            }
            IncidentEvent::Rehearsed { .. } => {
                self.say(format!("{warn}rehearsed{warn:#}: recorded, and neither run nor sent"));
            }
            IncidentEvent::Told { deliveries, .. } => {
                for delivery in deliveries {
                    let channel = plain(&delivery.channel);
                    match delivery.is_delivered {
                        true => self.say(format!("{good}sent{good:#} by {channel}")),
                        false => self.say(format!("{warn}{channel}{warn:#}: {}", plain(&delivery.reason))),
                    }
                }
            }
            _ => {}
        }
    }

    fn not_recorded(&mut self, appended: &Appended) {
        for missing in &appended.missing {
            let name = missing.name.to_string();
            if !self.away.contains(&name) {
                self.output.warn(format!(
                    "repository `{name}` does not have the record so far: {}",
                    missing.reason()
                ));
                self.away.push(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbook::{Runbook, parse};

    fn runbook() -> Runbook {
        let text = include_str!("../../../tests/fixtures/runbooks/database-lost.md");
        parse("database-lost", "database-lost.md", text).0.unwrap()
    }

    #[test]
    fn answers_are_what_a_tired_person_types_and_a_reason_is_asked_for() {
        let runbook = runbook();
        let reply = |step: &str, line: &str| {
            let step = runbook.step(step).unwrap();
            let (position, text) = (String::new(), String::new());
            let question = Question { step, number: 1, total: 9, position, text, kind: QuestionKind::Do };
            read_reply(line, &question)
        };
        assert_eq!(reply("look", "run"), Ok(Reply::Run));
        assert_eq!(reply("look", "r again"), Ok(Reply::Run));
        assert_eq!(reply("look", "skip it is known"), Ok(Reply::Skip { why: "it is known".into() }));
        assert!(
            reply("look", "skip").is_err() && reply("look", "").is_err() && reply("look", "yes").is_err()
        );
        assert_eq!(reply("stop", "done stopped at 3:02"), Ok(Reply::Done { note: "stopped at 3:02".into() }));
        assert!(reply("stop", "run").is_err());
        let answer = Reply::Answer { answer: "restore".into(), why: "it is gone".into() };
        assert_eq!(reply("way", "restore it is gone"), Ok(answer));
        assert!(reply("way", "restore").is_err() && reply("way", "done").is_err());
        assert_eq!(reply("way", "q"), Ok(Reply::Pause));
    }
}
