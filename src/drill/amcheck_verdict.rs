//! What `amcheck` found, and what that says of what came back. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::FromRow;

use crate::checks::{CHECK_FAILED, CheckResult, NOT_ASKED};
use crate::model::{Cause, Judgement, Verdict};
use crate::text::format_duration;

/// The name of the check.
pub(super) const AMCHECK: &str = "amcheck";
/// Names that are checked in messages; the record has none of them.
const NAMED: usize = 5;

/// Data or an index is corrupted.
const CORRUPTED: [&str; 2] = ["XX001", "XX002"];
/// A file is not there, or cannot be read: damage where it is one of the data directory, and not of a library.
const UNREAD_FILE: [&str; 2] = ["58P01", "58030"];
/// Where the files of tables and indexes are, as messages name them.
const DATA_FILES: [&str; 3] = ["\"base/", "\"global/", "\"pg_tblspc/"];

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Inspected {
    /// Of all databases.
    pub(super) relations: usize,
    pub(super) checked: usize,
    /// Those of a kind that this version of `amcheck` does not know.
    pub(super) unknown: usize,
    /// The SQLSTATEs of those whose check ended with an error that tells of no corruption.
    pub(super) not_checked: Vec<String>,
    pub(super) corrupted: Vec<String>,
    /// Indexes in the order of a locale, found corrupted where this host sorts text otherwise than the original.
    pub(super) elsewhere_sorted: Vec<String>,
    /// Whether the time ran out: then not all databases may be listed.
    pub(super) ran_out: bool,
    /// Why it could not be run.
    pub(super) obstacles: Vec<String>,
}

impl Inspected {
    /// Adds what the check of a relation found.
    pub(super) fn add(&mut self, relation: &Relation, has_other_locales: bool, outcome: RelationState) {
        let said = match outcome {
            RelationState::Sound => None,
            RelationState::Corrupted(said) => Some(format!("{}: {said}", relation.name)),
            RelationState::NotChecked(code) => return self.not_checked.push(code),
        };
        self.checked += 1;
        if relation.is_locale_ordered && has_other_locales {
            self.elsewhere_sorted.extend(said);
        } else {
            self.corrupted.extend(said);
        }
    }
}

/// A table or an index.
#[derive(Clone, Debug, FromRow)]
pub(super) struct Relation {
    pub(super) oid: i64,
    pub(super) name: String,
    pub(super) method: String,
    /// Whether it is an index whose order depends on a locale.
    pub(super) is_locale_ordered: bool,
}

/// What the check of one relation found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RelationState {
    Sound,
    Corrupted(String),
    /// With the SQLSTATE of the error.
    NotChecked(String),
}

/// Returns what an error tells of a relation. `text`: the error with its causes.
pub(super) fn outcome(code: &str, message: &str, text: String) -> RelationState {
    let is_of_data = UNREAD_FILE.contains(&code) && DATA_FILES.iter().any(|files| message.contains(files));
    if CORRUPTED.contains(&code) || is_of_data {
        return RelationState::Corrupted(text);
    }
    RelationState::NotChecked(code.to_owned())
}

/// Returns the result, and what is to be followed up.
pub(super) fn judge(inspected: &Inspected, budget: Duration) -> (CheckResult, Option<String>) {
    let Inspected { relations, checked, corrupted, elsewhere_sorted, .. } = inspected;
    let mut verdict = Verdict::default();
    let named = |all: &[String]| all.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    if !corrupted.is_empty() {
        let message = format!(
            "check `{AMCHECK}` failed: {} corrupted: {}",
            match corrupted.len() {
                1 => "one table or index is".to_owned(),
                several => format!("{several} tables or indexes are"),
            },
            named(corrupted)
        );
        verdict.add(Judgement::Fail, Cause::Backup, CHECK_FAILED, message);
    }
    let lacks = inspected.ran_out || *relations > 0;
    let why = if let Some(why) = inspected.obstacles.first() {
        Some(why.clone())
    } else if !elsewhere_sorted.is_empty() {
        Some(format!(
            "this host sorts text otherwise than the original, and so its indexes on text cannot be judged: {}",
            named(elsewhere_sorted)
        ))
    } else {
        (*checked == 0 && lacks).then(|| match errors(inspected) {
            Some(errors) => errors,
            None => format!("it reached nothing in {}", format_duration(budget)),
        })
    };
    if let Some(why) = why {
        let message = format!("failed to run check `{AMCHECK}`: {why}");
        verdict.add(Judgement::Undetermined, Cause::Environment, NOT_ASKED, message);
    }
    let is_partial = relations > checked || inspected.ran_out;
    let finding = (is_partial && verdict.has_passed()).then(|| partial(inspected, budget));
    let found = Some(format!("{checked} of {relations} tables and indexes"));
    (CheckResult { check: AMCHECK.to_owned(), verdict, found }, finding)
}

/// Says what was not looked at, without names: it goes into the record.
fn partial(inspected: &Inspected, budget: Duration) -> String {
    let Inspected { relations, checked, unknown, .. } = inspected;
    let mut said = format!(
        "`{AMCHECK}` reached {checked} of {relations} tables and indexes in {}",
        format_duration(budget)
    );
    if inspected.ran_out {
        said.push_str("; then its time was up, and there may be more in other databases");
    }
    if *unknown > 0 {
        said.push_str(&format!("; {unknown} of a kind that this version of it does not know"));
    }
    said.extend(errors(inspected).map(|errors| format!("; {errors}")));
    said
}

/// Says how many checks ended with an error; `None`: none.
fn errors(inspected: &Inspected) -> Option<String> {
    let codes: BTreeSet<&str> = inspected.not_checked.iter().map(String::as_str).collect();
    let codes = codes.into_iter().collect::<Vec<_>>().join(", ");
    let number = inspected.not_checked.len();
    (number > 0).then(|| format!("{number} could not be checked (SQLSTATE {codes})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_secs(600);

    fn judged(inspected: &Inspected) -> (Judgement, Option<Cause>, bool) {
        let (result, finding) = judge(inspected, BUDGET);
        let cause = result.verdict.reasons.first().map(|reason| reason.cause);
        (result.verdict.outcome, cause, finding.is_some())
    }

    #[test]
    fn only_what_was_reached_is_sound_and_what_could_not_be_run_has_not_passed() {
        let all = Inspected { relations: 9, checked: 9, ..Inspected::default() };
        assert_eq!(judged(&all), (Judgement::Pass, None, false));
        let some = Inspected { checked: 4, ..all.clone() };
        assert_eq!(judged(&some), (Judgement::Pass, None, true));
        let environment = (Judgement::Undetermined, Some(Cause::Environment), false);
        assert_eq!(judged(&Inspected { checked: 0, ..all.clone() }), environment);
        let lacking = "could not open extension control file \"amcheck.control\"".to_owned();
        let lacking = Inspected { obstacles: vec![lacking], checked: 0, ..all.clone() };
        assert_eq!(judged(&lacking), environment);
        let corrupted = Inspected { corrupted: vec!["t: lacks a tuple".to_owned()], ..all };
        assert_eq!(judged(&corrupted), (Judgement::Fail, Some(Cause::Backup), false));
        // An empty server has nothing to check.
        assert_eq!(judged(&Inspected::default()), (Judgement::Pass, None, false));
    }

    fn relation(name: &str, is_locale_ordered: bool) -> Relation {
        Relation { oid: 1, name: name.to_owned(), method: "btree".to_owned(), is_locale_ordered }
    }

    #[test]
    fn another_locale_excuses_the_order_of_text_and_nothing_else() {
        let corrupted = || RelationState::Corrupted("item order invariant violated".to_owned());
        let found = |is_locale_ordered, has_other_locales| {
            let mut inspected = Inspected { relations: 1, ..Inspected::default() };
            inspected.add(&relation("i", is_locale_ordered), has_other_locales, corrupted());
            judged(&inspected)
        };
        assert_eq!(found(true, true), (Judgement::Undetermined, Some(Cause::Environment), false));
        for (is_locale_ordered, has_other_locales) in [(true, false), (false, true), (false, false)] {
            let judged = found(is_locale_ordered, has_other_locales);
            assert_eq!(judged, (Judgement::Fail, Some(Cause::Backup), false));
        }
    }

    #[test]
    fn an_error_of_one_relation_is_a_finding_unless_it_tells_of_damage() {
        let outcome = |code: &str, message: &str| outcome(code, message, message.to_owned());
        let is_damage =
            |code: &str, message: &str| matches!(outcome(code, message), RelationState::Corrupted(_));
        assert!(is_damage("XX001", "invalid page in block 0") && is_damage("XX002", "item order"));
        assert!(is_damage("58P01", "could not open file \"base/16384/2601\": No such file or directory"));
        assert!(!is_damage(
            "58P01",
            "could not access file \"$libdir/postgis-3\": No such file or directory"
        ));
        let mut inspected = Inspected { relations: 2, ..Inspected::default() };
        inspected.add(&relation("t", false), false, RelationState::Sound);
        inspected.add(&relation("secret_name", false), false, outcome("58P01", "could not access file"));
        let (result, finding) = judge(&inspected, BUDGET);
        assert!(result.verdict.has_passed());
        let finding = finding.unwrap();
        assert!(finding.contains("1 of 2") && finding.contains("SQLSTATE 58P01"), "{finding}");
        assert!(!finding.contains("secret_name"), "{finding}");
    }

    #[test]
    fn what_had_no_time_to_look_at_anything_has_not_passed() {
        let out = Inspected { ran_out: true, ..Inspected::default() };
        assert_eq!(judged(&out), (Judgement::Undetermined, Some(Cause::Environment), false));
        // All that was listed was checked, and there may be more.
        let some = Inspected { relations: 4, checked: 4, ..out };
        assert_eq!(judged(&some), (Judgement::Pass, None, true));
    }
}
