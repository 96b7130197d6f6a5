//! The rules that keep one backup of each period, as one table.

use crate::model::{Period, Sha256Hex};
use crate::policy::{CalendarSpan, Retention, Rules};

/// Keeps one backup of each period for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodRule {
    pub period: Period,
    pub span: CalendarSpan,
}

/// Returns the rules of a policy that look at periods, the shortest periods first.
pub fn period_rules(rules: &Rules) -> Vec<PeriodRule> {
    rules.periods().map(|(period, span)| PeriodRule { period, span }).collect()
}

/// Returns rules in words: `daily 30d, weekly 27w, at least the last 3`.
pub fn in_words(rules: &Rules) -> String {
    let mut words: Vec<String> = Vec::new();
    words.extend(rules.keep_within.map(|span| format!("everything within {span}")));
    words.extend(period_rules(rules).iter().map(|rule| format!("{} {}", rule.period.rule(), rule.span)));
    words.extend(
        rules.pitr.map(|pitr| format!("point-in-time recovery {}", crate::text::format_duration(pitr))),
    );
    words.push(format!("at least the last {}", rules.keep_last));
    if rules.minimum_redundancy > 1 {
        words.push(format!("{} of them independent", rules.minimum_redundancy));
    }
    words.join(", ")
}

/// Returns the digest of everything that a policy says about retention, whatever the order it is written in.
pub fn digest(retention: &Retention) -> String {
    let line = |name: String, rules: &Rules| format!("{name}: {}", in_words(rules));
    let mut lines = vec![line("*".to_owned(), &retention.rules)];
    lines.extend(retention.copies.iter().map(|(name, rules)| line(format!("* {name}"), rules)));
    for own in &retention.sources {
        lines.push(line(own.source.to_string(), &own.rules));
        lines.extend(own.copies.iter().map(|(name, rules)| line(format!("{} {name}", own.source), rules)));
    }
    lines.sort();
    short_digest(&lines)
}

/// Returns twelve hexadecimal digits that tell these lines from others.
pub(super) fn short_digest(lines: &[String]) -> String {
    let mut digest = Sha256Hex::digest(lines.join("\n").as_bytes()).to_string();
    digest.truncate(12);
    digest
}
