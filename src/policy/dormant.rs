//! What a policy may say and this version does nothing about.

use super::decode::{Diagnostics, KeyLocation};
use super::fault::TextPosition;
use super::lint::Lint;
use super::schema::PolicyTable;
use super::settings::Policy;

/// A section that is checked and not acted on.
struct Dormant {
    section: &'static str,
    /// Where it stands, if it does.
    spot: fn(&PolicyTable) -> Option<&KeyLocation>,
    /// What does not happen, and what of the section is used all the same.
    message: &'static str,
    hint: &'static str,
}

/// All of them. A row goes when something acts on its section.
const DORMANT: [Dormant; 1] = [Dormant {
    section: "notify",
    spot: |table| table.notify.as_ref().map(|section| &section.spot),
    message: "this version sends no notifications",
    hint: "monitor the exit statuses of `drctl backup` and `drctl status`",
}];

/// Returns the sections of a policy that have no effect yet, in the order of the file.
pub(super) fn sections(table: &PolicyTable, log: &Diagnostics<'_>) -> Vec<(&'static str, TextPosition)> {
    let mut found: Vec<_> =
        DORMANT.iter().filter_map(|row| Some((row.section, log.position((row.spot)(table)?)))).collect();
    found.sort_by_key(|(_, at)| *at);
    found
}

/// Returns a warning for each section without effect, and what it would need.
pub fn dormant(policy: &Policy) -> Vec<Lint> {
    let row = |section: &str| DORMANT.iter().find(|row| row.section == section);
    let sections = policy.dormant.iter();
    sections
        .filter_map(|(section, at)| {
            let row = row(section)?;
            Some(Lint {
                misses_objective: false,
                at: Some(*at),
                key: row.section.to_owned(),
                message: row.message.to_owned(),
                hint: row.hint.to_owned(),
            })
        })
        .chain(undrilled(policy))
        .collect()
}

/// Warns of a drill of what only AWS keeps.
fn undrilled(policy: &Policy) -> Option<Lint> {
    let source = policy.source(&policy.drill.as_ref()?.source)?;
    source.kinds.iter().all(|kind| kind.is_managed()).then(|| Lint {
        misses_objective: false,
        at: None,
        key: "drill".to_owned(),
        message: format!("this version drills dumps and base backups, and `{}` has neither", source.name),
        hint: "take dumps of it, too, or practise a manual restore and check the restored data".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::policy::parse;
    use crate::policy::samples::{POLICY, with};

    fn found(text: &str) -> Vec<(String, usize)> {
        let policy = parse(Path::new("shop.toml"), text).unwrap();
        dormant(&policy).into_iter().map(|lint| (lint.key, lint.at.unwrap().line)).collect()
    }

    #[test]
    fn every_section_that_nothing_acts_on_is_named_with_its_line() {
        let line = |head: &str| POLICY.lines().position(|line| line == head).unwrap() + 1;
        let expected = [("notify", line("[notify]"))];
        let expected = expected.map(|(key, line)| (key.to_owned(), line));
        assert_eq!(found(POLICY), expected);
    }

    #[test]
    fn what_is_not_there_is_not_warned_of() {
        let rest = &POLICY[POLICY.find("[retention]").unwrap()..];
        assert_eq!(found(&with(rest, "")), []);
        let (drill, _) = rest.split_once("[notify]").unwrap();
        let found: Vec<_> = found(&with(drill, "")).into_iter().map(|(key, _)| key).collect();
        assert_eq!(found, ["notify"]);
    }

    #[test]
    fn no_section_has_two_rows() {
        let mut names: Vec<_> = DORMANT.iter().map(|row| row.section).collect();
        names.dedup();
        assert_eq!(names.len(), DORMANT.len());
    }
}
