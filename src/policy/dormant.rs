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
    section: "schedule",
    spot: |table| table.schedule.as_ref().map(|section| &section.spot),
    message: "this version runs nothing at these times: they are only compared with the RPO",
    hint: "let cron run `drctl backup -q`, `drctl retention apply -q` and `drctl drill run --scheduled -q`, as the README shows",
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
        let line = POLICY.lines().position(|line| line == "[schedule.sources]").unwrap() + 1;
        assert_eq!(found(POLICY), [("schedule".to_owned(), line)]);
    }

    #[test]
    fn what_is_not_there_is_not_warned_of() {
        let rest = &POLICY[POLICY.find("[retention]").unwrap()..];
        assert_eq!(found(&with(rest, "")), []);
        let (schedule, _) = rest.split_once("[drill]").unwrap();
        assert_eq!(found(&with(schedule, "")), []);
    }

    #[test]
    fn no_section_has_two_rows() {
        let mut names: Vec<_> = DORMANT.iter().map(|row| row.section).collect();
        names.dedup();
        assert_eq!(names.len(), DORMANT.len());
    }
}
