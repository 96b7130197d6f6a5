//! The messages of `pg_restore` on what it failed to do, where it continues nevertheless.

use std::collections::{BTreeMap, BTreeSet};

use super::archive_toc::{TocEntry, one_line};
use super::error_cause::{cause_of, is_of_something_missing};
use crate::model::Cause;
use crate::postgres::qualified;

/// Lines of stderr that are kept; the last ones.
pub(super) const STDERR_LINES: usize = 20_000;
/// The setting that pg_restore sets and that older servers do not know.
const SETTING: &str = "transaction_timeout";
const UNKNOWN_SETTING: &str = "unrecognized configuration parameter \"transaction_timeout\"";
/// The prefix of pg_restore's own messages.
const ITSELF: &str = "pg_restore: ";
/// What follows it where something is wrong.
const TELLING: [&str; 4] = ["from TOC entry ", "while ", "error: ", "warning: "];
const COMMAND: &str = "Command was: ";
const DETAIL: &str = "DETAIL:  ";
/// What follows the name of a table in the one message that has both, where the name has line breaks.
const AFTER_NAME: &str = "\": ERROR:  ";

/// An error that pg_restore reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    /// The archive's entry that it is about; none before the first.
    entry: Option<NamedEntry>,
    pub(super) message: String,
}

/// An entry as pg_restore names it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NamedEntry {
    id: u32,
    /// The kind, the name and the owner; only the first line of these.
    text: String,
}

impl NamedEntry {
    /// Returns whether this is how pg_restore names an entry of the archive. A name in another encoding is
    /// not comparable.
    fn is_of(&self, entry: &TocEntry) -> bool {
        const NOT_READABLE: char = '\u{fffd}';
        let named = format!("{} {} {}", entry.kind, entry.name, entry.owner);
        self.id == entry.id
            && (named.contains(NOT_READABLE)
                || named.lines().next().unwrap_or_default().trim_end() == self.text.trim_end())
    }
}

impl Complaint {
    /// Returns the archive's entry that it is about, where that is certain.
    fn entry<'e>(&self, entries: Option<&'e [TocEntry]>) -> Option<&'e TocEntry> {
        let (named, entries) = (self.entry.as_ref()?, entries?);
        if is_ambiguous(entries) {
            return None;
        }
        entries.iter().find(|entry| named.is_of(entry))
    }

    /// Returns what could not be created or loaded. Without the archive's contents it is named as by
    /// pg_restore, with its owner.
    pub(super) fn object(&self, entries: Option<&[TocEntry]>) -> Option<String> {
        match (self.entry(entries), &self.entry, entries) {
            (Some(entry), ..) => Some(entry.words()),
            (None, Some(named), None) => Some(one_line(&named.text)),
            _ => None,
        }
    }

    /// Returns the object, and the server's message.
    pub(super) fn text(&self, entries: Option<&[TocEntry]>) -> String {
        match self.object(entries) {
            Some(object) => format!("{object}: {}", self.message),
            None => self.message.clone(),
        }
    }

    /// Returns whether its line ended within the name of a table, so that the server's message is still to
    /// come.
    fn is_cut_in_a_name(&self) -> bool {
        self.message.matches('"').count() % 2 == 1 && !self.message.contains(AFTER_NAME)
    }

    /// Returns whether it is about the one setting of a newer version, and not about the dump.
    fn is_of_setting(&self) -> bool {
        self.message.contains(UNKNOWN_SETTING) || self.entry.is_none() && self.message.contains(SETTING)
    }

    /// Returns the extension whose comment it is about. Only its owner may set that, and creating the
    /// extension has set it already: it is the extension's own, and not part of the dump.
    fn extension_commented_on(&self) -> Option<&str> {
        let text = &self.entry.as_ref()?.text;
        text.strip_prefix("COMMENT EXTENSION ").map(str::trim_end)
    }

    /// Returns whether it is about the query of a materialised view.
    fn is_of_refresh(&self) -> bool {
        self.entry.as_ref().is_some_and(|named| named.text.starts_with("MATERIALIZED VIEW DATA "))
    }

    /// Returns whether the query of a materialised view failed because of its environment: by the server's own
    /// message, since a lost connection to the target itself is another failure.
    fn is_of_unreached(&self) -> bool {
        self.is_of_refresh()
            && self.message.contains("ERROR:  ")
            && cause_of(&self.message) == Some(Cause::Environment)
    }

    /// Returns whether it reads another materialised view that was not filled.
    fn is_of_unfilled(&self) -> bool {
        self.is_of_refresh() && self.message.contains("has not been populated")
    }

    fn is_tolerated(&self) -> bool {
        self.is_of_setting() || self.extension_commented_on().is_some()
    }
}

/// Returns whether a name in the archive could be taken for a line of pg_restore: then lines cannot be
/// attributed with certainty.
pub(super) fn is_ambiguous(entries: &[TocEntry]) -> bool {
    let has_line =
        |name: &str| name.lines().skip(1).any(|line| line.starts_with(ITSELF) || line.starts_with(DETAIL));
    entries.iter().any(|entry| has_line(&entry.name) || entry.schema.as_deref().is_some_and(has_line))
}

/// An object that was not loaded, and its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotLoaded {
    pub(super) text: String,
    pub(super) cause: Cause,
}

/// Everything that a load has skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PassedOver {
    pub(super) complaints: Vec<Complaint>,
    /// The number of further ones that could not be read.
    pub(super) untold: usize,
    /// Failures without consequences, as text.
    pub(super) remarks: Vec<String>,
}

impl PassedOver {
    pub(super) fn is_nothing(&self) -> bool {
        self.complaints.is_empty() && self.untold == 0
    }

    /// Adds what another run skipped.
    pub(super) fn add(&mut self, other: Self) {
        self.complaints.extend(other.complaints);
        self.untold += other.untold;
        self.remarks.extend(other.remarks);
    }

    /// Takes out the materialised views that were not filled because of what the target does not reach.
    pub(super) fn take_unfilled(&mut self, entries: Option<&[TocEntry]>) -> Vec<UnfilledView> {
        if !self.complaints.iter().any(Complaint::is_of_unreached) {
            return vec![];
        }
        let mut unfilled = Vec::new();
        self.complaints.retain(|complaint| {
            let is_one = complaint.is_of_unreached() || complaint.is_of_unfilled();
            let Some(entry) = complaint.entry(entries).filter(|_| is_one) else { return true };
            unfilled.push(UnfilledView {
                schema: entry.schema.clone().unwrap_or_default(),
                name: entry.name.clone(),
                reason: complaint.message.clone(),
            });
            false
        });
        unfilled
    }

    /// Applies [`may_be_of_order`] to what was skipped.
    pub(super) fn may_be_of_order(&self) -> bool {
        may_be_of_order(self.complaints.iter().map(|complaint| complaint.message.as_str()))
    }

    /// Returns what was not loaded, each with its cause. An object that depends on another one that was not
    /// loaded has the cause of that.
    pub(super) fn not_loaded(&self, entries: Option<&[TocEntry]>) -> Vec<NotLoaded> {
        let mut failed: BTreeMap<u32, Cause> = BTreeMap::new();
        let mut all = Vec::new();
        for complaint in &self.complaints {
            let entry = complaint.entry(entries);
            let inherited = entry
                .filter(|_| is_of_something_missing(&complaint.message))
                .and_then(|entry| cause_of_needs(entry, entries.unwrap_or_default(), &failed));
            let known = inherited.or_else(|| cause_of(&complaint.message));
            let mut text = complaint.text(entries);
            if known.is_none() {
                text.push_str(" (cause undetermined: the server reports errors in another language)");
            }
            let cause = known.unwrap_or(Cause::Tool);
            failed.extend(entry.map(|entry| (entry.id, cause)));
            all.push(NotLoaded { text, cause });
        }
        if self.untold > 0 {
            let text = format!("{} more errors, of which pg_restore gives the number only", self.untold);
            all.push(NotLoaded { text, cause: Cause::Tool });
        }
        all
    }
}

/// Returns the cause of a failed entry that this one depends on, directly or indirectly.
fn cause_of_needs(entry: &TocEntry, entries: &[TocEntry], failed: &BTreeMap<u32, Cause>) -> Option<Cause> {
    let by_id: BTreeMap<u32, &TocEntry> = entries.iter().map(|entry| (entry.id, entry)).collect();
    let (mut next, mut seen) = (entry.needs.clone(), BTreeSet::new());
    while let Some(id) = next.pop() {
        if let Some(cause) = failed.get(&id) {
            return Some(*cause);
        }
        if seen.insert(id) {
            next.extend(by_id.get(&id).into_iter().flat_map(|entry| entry.needs.iter().copied()));
        }
    }
    None
}

/// Returns whether the messages may be caused by several jobs, which do not keep to the dump's own order.
pub(super) fn may_be_of_order<'a>(lines: impl Iterator<Item = &'a str> + Clone) -> bool {
    const OF_ORDER: [&str; 2] = ["COPY failed for table", "deadlock detected"];
    const OF_SERVER: [&str; 6] = [
        "No space left on device",
        "out of memory",
        "could not extend file",
        "server closed the connection",
        "terminating connection",
        "invalid byte sequence",
    ];
    let has = |all: &[&str]| lines.clone().any(|line| all.iter().any(|words| line.contains(words)));
    has(&OF_ORDER) && !has(&OF_SERVER)
}

/// Returns whether a line is more than progress, of which `--verbose` prints much.
pub(super) fn is_no_chatter(line: &str) -> bool {
    line.strip_prefix(ITSELF).is_none_or(|said| TELLING.iter().any(|begin| said.starts_with(begin)))
}

/// Returns whether a line is kept when there are many errors. The statements themselves are not: they may be
/// whole functions.
pub(super) fn is_account(line: &str) -> bool {
    is_no_chatter(line)
        && ([ITSELF, COMMAND, DETAIL].iter().any(|begin| line.starts_with(begin))
            || line.contains(AFTER_NAME))
}

/// Returns whether pg_restore ran to its end. It then reports the number of errors ignored.
pub(super) fn went_to_its_end(stderr: &[String]) -> bool {
    said(stderr).is_some()
}

/// Returns whether it ran to its end, and ignored nothing but the one setting and comments on extensions. Its
/// count does not include all errors of its workers.
pub(super) fn only_tolerated(stderr: &[String]) -> bool {
    let complaints = complaints(stderr);
    let is_all_there = stderr.len() < STDERR_LINES;
    let number = said(stderr);
    is_all_there
        && complaints.iter().all(Complaint::is_tolerated)
        && number.is_some_and(|number| (1..=complaints.len()).contains(&number))
}

/// Returns whether it ran to its end, and failed only to fill materialised views from what the target does not reach
/// or does not allow, and at what is tolerated.
fn only_unreached(stderr: &[String]) -> bool {
    let complaints = complaints(stderr);
    let is_all_there = stderr.len() < STDERR_LINES;
    let is_accepted = |complaint: &Complaint| {
        complaint.is_of_unreached() || complaint.is_of_unfilled() || complaint.is_tolerated()
    };
    is_all_there
        && said(stderr).is_some()
        && complaints.iter().any(Complaint::is_of_unreached)
        && complaints.iter().all(is_accepted)
}

/// Returns whether a run that fills materialised views did all that the target lets it do.
pub(super) fn filled_what_it_could(stderr: &[String]) -> bool {
    only_unreached(stderr) || only_tolerated(stderr)
}

/// A materialised view that was not filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnfilledView {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) reason: String,
}

impl UnfilledView {
    /// Returns the statement that fills it.
    pub(super) fn refresh(&self) -> String {
        format!("REFRESH MATERIALIZED VIEW {}", qualified(&self.schema, &self.name))
    }
}

/// Parses the errors of a load that ran to its end; without the one setting where that is tolerated.
pub(super) fn passed_over(
    stderr: &[String],
    jobs: u32,
    tolerates_settings: bool,
    entries: Option<&[TocEntry]>,
) -> PassedOver {
    let all = complaints(stderr);
    // With several jobs it counts some of them twice.
    let said = said(stderr).filter(|_| jobs == 1 || all.is_empty());
    let untold = said.unwrap_or_default().saturating_sub(all.len());
    let is_certain = !entries.is_some_and(is_ambiguous);
    let mut passed_over = PassedOver { untold, ..PassedOver::default() };
    for complaint in all {
        if tolerates_settings && complaint.is_of_setting() {
            continue;
        }
        match complaint.extension_commented_on().filter(|_| is_certain) {
            Some(extension) => passed_over.remarks.push(format!(
                "the comment on extension {} is not set: {}",
                one_line(extension),
                complaint.message
            )),
            None => passed_over.complaints.push(complaint),
        }
    }
    passed_over
}

/// Returns the error that ended a load which stops at the first one.
pub(super) fn first(stderr: &[String]) -> Option<Complaint> {
    complaints(stderr).into_iter().next()
}

fn said(stderr: &[String]) -> Option<usize> {
    let last = stderr.last()?.strip_prefix("pg_restore: warning: errors ignored on restore: ")?;
    last.parse().ok()
}

fn complaints(stderr: &[String]) -> Vec<Complaint> {
    let mut found: Vec<Complaint> = Vec::new();
    // It names an entry once, before its first message on it.
    let mut entry = None;
    for line in stderr {
        if let Some(said) = line.strip_prefix(ITSELF) {
            if let Some(named) = said.strip_prefix("from TOC entry ") {
                entry = parse_entry(named);
            } else if said.starts_with("while INITIALIZING") || said.starts_with("while FINALIZING") {
                entry = None;
            } else if let Some(error) = said.strip_prefix("error: ") {
                let message = error.strip_prefix("could not execute query: ").unwrap_or(error).to_owned();
                found.push(Complaint { entry: entry.clone(), message });
            }
        } else if let Some((detail, last)) = line.strip_prefix(DETAIL).zip(found.last_mut()) {
            last.message.push_str(&format!(" ({detail})"));
        } else if let Some(last) = found.last_mut().filter(|last| last.is_cut_in_a_name())
            && line.contains(AFTER_NAME)
        {
            last.message.push_str(&format!(r"\n{line}"));
        }
    }
    found
}

/// Parses `215; 1259 16385 TABLE orders postgres`; of a name with a line break, only its first line.
fn parse_entry(text: &str) -> Option<NamedEntry> {
    let (id, rest) = text.split_once("; ")?;
    let text = rest.splitn(3, ' ').nth(2)?;
    Some(NamedEntry { id: id.parse().ok()?, text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    const ACCOUNT: &str = "\
pg_restore: creating TABLE \"public.child\"
pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 3450; 0 16400 MATERIALIZED VIEW DATA mirror postgres
pg_restore: error: could not execute query: ERROR:  could not connect to server \"away\"
DETAIL:  connection refused
Command was: REFRESH MATERIALIZED VIEW public.mirror;
pg_restore: from TOC entry 3441; 0 16390 TABLE DATA child postgres
pg_restore: error: COPY failed for table \"child\": ERROR:  new row violates a check
CONTEXT:  COPY child, line 1
pg_restore: from TOC entry 2; 3079 16399 EXTENSION postgis
pg_restore: error: could not execute query: ERROR:  no such extension
pg_restore: error: could not execute query: FEHLER:  noch etwas
pg_restore: warning: errors ignored on restore: 5";

    #[test]
    fn views_that_cannot_be_filled_for_want_of_another_server_are_taken_out() {
        const UNREACHED: &str = "\
pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 3450; 0 16400 MATERIALIZED VIEW DATA mirror postgres
pg_restore: error: could not execute query: ERROR:  could not establish connection
DETAIL:  connection to server at \"10.0.0.1\", port 5432 failed: Connection refused
Command was: REFRESH MATERIALIZED VIEW public.mirror;
pg_restore: from TOC entry 3451; 0 16401 MATERIALIZED VIEW DATA summary postgres
pg_restore: error: could not execute query: ERROR:  materialized view \"mirror\" has not been populated
pg_restore: warning: errors ignored on restore: 2";
        let said = lines(UNREACHED);
        assert!(filled_what_it_could(&said));
        // What is wrong with the view itself, and a lost connection to the target, end the load.
        for other in ["ERROR:  division by zero", "server closed the connection unexpectedly"] {
            let said = lines(&UNREACHED.replace("ERROR:  could not establish connection", other));
            let said: Vec<_> = said.into_iter().filter(|line| !line.starts_with("DETAIL")).collect();
            assert!(!filled_what_it_could(&said), "{other}");
        }
        assert!(!filled_what_it_could(&lines(ACCOUNT)), "it failed at more");
        // In one run there are comments on extensions too.
        let comment = "pg_restore: from TOC entry 3; 0 0 COMMENT EXTENSION plpgsql \n\
                       pg_restore: error: could not execute query: ERROR:  must be owner of extension plpgsql\n\
                       pg_restore: from TOC entry 3450;";
        let both = UNREACHED.replacen("pg_restore: from TOC entry 3450;", comment, 1);
        assert!(filled_what_it_could(&lines(&both.replace("restore: 2", "restore: 3"))));
        let entries = [
            TocEntry::for_test(3450, "MATERIALIZED VIEW DATA", "public", "mirror", &[]),
            TocEntry::for_test(3451, "MATERIALIZED VIEW DATA", "public", "summary", &[3450]),
        ]
        .map(|mut entry| {
            entry.owner = "postgres".to_owned();
            entry
        });
        let mut account = passed_over(&said, 1, false, Some(&entries));
        let unfilled = account.take_unfilled(Some(&entries));
        let names: Vec<_> = unfilled.iter().map(|view| view.refresh()).collect();
        assert_eq!(
            names,
            [
                r#"REFRESH MATERIALIZED VIEW "public"."mirror""#,
                r#"REFRESH MATERIALIZED VIEW "public"."summary""#
            ]
        );
        assert!(unfilled[0].reason.contains("10.0.0.1") && account.is_nothing(), "{account:?}");
    }

    #[test]
    fn everything_that_was_passed_over_is_told_with_its_object() {
        let kept: Vec<String> = lines(ACCOUNT).into_iter().filter(|line| is_account(line)).collect();
        assert!(!kept.iter().any(|line| line.contains("creating")), "{kept:?}");
        assert!(is_no_chatter("CONTEXT:  COPY child, line 1") && !is_account("CONTEXT:  COPY child, line 1"));
        assert!(went_to_its_end(&kept) && !went_to_its_end(&kept[..3]));
        let account = passed_over(&kept, 1, false, None);
        let mut entries = vec![
            TocEntry::for_test(3450, "MATERIALIZED VIEW DATA", "public", "mirror", &[]),
            TocEntry::for_test(3441, "TABLE DATA", "public", "child", &[]),
            TocEntry::for_test(2, "EXTENSION", "", "postgis", &[]),
        ];
        entries[..2].iter_mut().for_each(|entry| entry.owner = "postgres".to_owned());
        let told: Vec<String> =
            account.complaints.iter().map(|complaint| complaint.text(Some(&entries))).collect();
        assert_eq!(
            told,
            [
                "MATERIALIZED VIEW DATA public.mirror: ERROR:  could not connect to server \"away\" (connection refused)",
                "TABLE DATA public.child: COPY failed for table \"child\": ERROR:  new row violates a check",
                "EXTENSION postgis: ERROR:  no such extension",
                "EXTENSION postgis: FEHLER:  noch etwas",
            ]
        );
        assert_eq!((account.untold, passed_over(&kept, 2, false, None).untold), (1, 0));
        let unknown = first(&kept).unwrap().object(None).unwrap();
        assert_eq!(
            unknown, "MATERIALIZED VIEW DATA mirror postgres",
            "as pg_restore names it, with the owner"
        );
        let causes: Vec<Cause> =
            account.not_loaded(Some(&entries)).into_iter().map(|missing| missing.cause).collect();
        assert_eq!(causes, [Cause::Environment, Cause::Backup, Cause::Environment, Cause::Tool, Cause::Tool]);
    }

    fn entry(id: u32, kind: &str, name: &str, needs: &[u32]) -> TocEntry {
        let mut entry = TocEntry::for_test(id, kind, "s", name, needs);
        entry.owner = "my owner".to_owned();
        entry
    }

    #[test]
    fn an_object_whose_name_has_line_breaks_is_named_by_its_entry() {
        let said = lines(
            "pg_restore: from TOC entry 7; 1259 16385 TABLE a b\nc d my owner\n\
             pg_restore: error: could not execute query: ERROR:  permission denied for schema s",
        );
        let entries = [entry(7, "TABLE", "a b\nc d", &[]), entry(8, "TABLE", "a", &[])];
        let complaint = first(&said).unwrap();
        assert_eq!(
            complaint.text(Some(&entries)),
            r"TABLE s.a b\nc d: ERROR:  permission denied for schema s"
        );
        let said = lines(
            "pg_restore: from TOC entry 7; 0 16385 TABLE DATA a b\nc d my owner\n\
             pg_restore: error: COPY failed for table \"a b\nc d\": ERROR:  no such role\n\
             Command was: x\nit\": ERROR:  is no part of it",
        );
        assert!(said.iter().filter(|line| is_account(line)).count() >= 4);
        assert_eq!(
            first(&said).unwrap().message,
            r#"COPY failed for table "a b\nc d": ERROR:  no such role"#
        );
        // An id whose entry has another name: better none than a wrong one.
        let others = [entry(7, "TABLE", "other", &[])];
        assert_eq!(complaint.object(Some(&others)), None);
        assert_eq!(complaint.text(Some(&others)), "ERROR:  permission denied for schema s");
    }

    #[test]
    fn a_name_that_looks_like_a_line_of_pg_restore_blames_no_other_object() {
        let name = "x\npg_restore: from TOC entry 8; 0 1 TABLE victim my owner";
        let entries = [entry(7, "TABLE", name, &[]), entry(8, "TABLE", "victim", &[])];
        let said = format!(
            "pg_restore: from TOC entry 7; 0 1 TABLE {name} my owner\npg_restore: error: could not execute query: ERROR:  no"
        );
        let complaint = first(&lines(&said)).unwrap();
        assert_eq!(complaint.text(Some(&entries)), "ERROR:  no");
        // Nor does it make an error one of no consequence.
        let as_comment = said.replace("entry 8; 0 1 TABLE victim", "entry 8; 0 0 COMMENT EXTENSION x");
        let name = name.replace("entry 8; 0 1 TABLE victim", "entry 8; 0 0 COMMENT EXTENSION x");
        let entries = [entry(7, "TABLE", &name, &[])];
        let account = passed_over(&lines(&as_comment), 1, false, Some(&entries));
        assert_eq!((account.complaints.len(), account.remarks.len()), (1, 0));
    }

    #[test]
    fn what_needs_something_that_was_not_loaded_has_the_cause_of_that() {
        let said = lines(
            "pg_restore: from TOC entry 2; 0 1 EXTENSION postgis my owner\n\
             pg_restore: error: could not execute query: ERROR:  extension \"postgis\" is not available\n\
             pg_restore: from TOC entry 7; 0 1 TABLE places my owner\n\
             pg_restore: error: could not execute query: ERROR:  type \"public.geometry\" does not exist\n\
             pg_restore: from TOC entry 9; 0 1 TABLE DATA places my owner\n\
             pg_restore: error: could not execute query: ERROR:  relation \"s.places\" does not exist\n\
             pg_restore: from TOC entry 8; 0 1 INDEX by_half my owner\n\
             pg_restore: error: could not execute query: ERROR:  function half(integer) does not exist\n\
             pg_restore: warning: errors ignored on restore: 4",
        );
        let entries = [
            entry(2, "EXTENSION", "postgis", &[]),
            entry(7, "TABLE", "places", &[2]),
            entry(8, "INDEX", "by_half", &[]),
            entry(9, "TABLE DATA", "places", &[7]),
        ];
        let all = passed_over(&said, 1, false, None).not_loaded(Some(&entries));
        let causes: Vec<Cause> = all.iter().map(|missing| missing.cause).collect();
        assert_eq!(causes, [Cause::Environment, Cause::Environment, Cause::Environment, Cause::Backup]);
        let foreign = lines(
            "pg_restore: from TOC entry 8; 0 1 INDEX by_half my owner\n\
             pg_restore: error: could not execute query: FEHLER:  Funktion half(integer) existiert nicht\n\
             pg_restore: warning: errors ignored on restore: 1",
        );
        let all = passed_over(&foreign, 1, false, None).not_loaded(Some(&entries));
        assert!(all[0].text.ends_with("(cause undetermined: the server reports errors in another language)"));
    }

    #[test]
    fn a_comment_on_an_extension_of_another_owner_is_a_remark() {
        let text = "pg_restore: from TOC entry 3; 0 0 COMMENT EXTENSION plpgsql \n\
                    pg_restore: error: could not execute query: ERROR:  must be owner of extension plpgsql\n\
                    Command was: COMMENT ON EXTENSION plpgsql IS 'x';\n\
                    pg_restore: warning: errors ignored on restore: 1";
        assert!(only_tolerated(&lines(text)));
        let account = passed_over(&lines(text), 1, false, None);
        assert!(account.is_nothing());
        assert_eq!(
            account.remarks,
            ["the comment on extension plpgsql is not set: ERROR:  must be owner of extension plpgsql"]
        );
        let of_a_table = text.replace("COMMENT EXTENSION plpgsql", "COMMENT TABLE t");
        assert!(!only_tolerated(&lines(&of_a_table)));
        assert_eq!(passed_over(&lines(&of_a_table), 1, false, None).complaints.len(), 1);
    }

    #[test]
    fn only_the_one_setting_is_tolerated_and_only_at_the_end() {
        let good = "pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter \"transaction_timeout\"\n\
                    Command was: SET transaction_timeout = 0;\n";
        let said = "pg_restore: warning: errors ignored on restore: 1";
        assert!(only_tolerated(&lines(&format!("{good}{said}"))));
        assert!(!only_tolerated(&lines(good)), "it did not come to its end");
        // As a server says it that speaks another language.
        let foreign = good.replace(
            "ERROR:  unrecognized configuration parameter \"transaction_timeout\"",
            "FEHLER:  nicht erkannter Konfigurationsparameter »transaction_timeout«",
        );
        assert!(only_tolerated(&lines(&format!("{foreign}{said}"))));
        let bad = "pg_restore: error: could not execute query: ERROR:  role \"app\" does not exist\n";
        let two = "pg_restore: warning: errors ignored on restore: 2";
        assert!(!only_tolerated(&lines(&format!("{good}{bad}{two}"))));
        assert!(!only_tolerated(&lines(&format!("{good}{bad}{said}"))));
        let account = passed_over(&lines(&format!("{good}{bad}{two}")), 2, true, None);
        assert_eq!((account.complaints.len(), account.untold), (1, 0));
    }
}
