//! What `pg_restore` says of what it could not do, where it goes on all the same.

use super::archive_toc::TocEntry;

/// Lines of stderr that are kept; the last ones.
pub(super) const STDERR_LINES: usize = 20_000;
/// The setting that pg_restore makes and older servers do not know.
const SETTING: &str = "transaction_timeout";
const UNKNOWN_SETTING: &str = "unrecognized configuration parameter \"transaction_timeout\"";
/// How pg_restore begins what it says itself.
const ITSELF: &str = "pg_restore: ";
/// How it then goes on, where something is wrong.
const TELLING: [&str; 4] = ["from TOC entry ", "while ", "error: ", "warning: "];
const COMMAND: &str = "Command was: ";
const DETAIL: &str = "DETAIL:  ";

/// One thing that could not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    /// The id of the archive's entry, and the entry as pg_restore names it; none before the first.
    entry: Option<(u32, String)>,
    message: String,
}

impl Complaint {
    /// What could not be made or loaded: with its schema where the archive's contents are known.
    pub(super) fn object(&self, entries: Option<&[TocEntry]>) -> Option<String> {
        let (id, text) = self.entry.as_ref()?;
        let entry = entries.and_then(|entries| entries.iter().find(|entry| entry.id == *id));
        Some(match entry {
            Some(TocEntry { kind, schema: Some(schema), name, .. }) => format!("{kind} {schema}.{name}"),
            Some(TocEntry { kind, schema: None, name, .. }) => format!("{kind} {name}"),
            None => text.clone(),
        })
    }

    /// The object, and what the server said of it.
    pub(super) fn text(&self, entries: Option<&[TocEntry]>) -> String {
        match self.object(entries) {
            Some(object) => format!("{object}: {}", self.message),
            None => self.message.clone(),
        }
    }

    /// Whether it is about the one setting of a newer version, and about nothing of the dump.
    fn is_tolerated(&self) -> bool {
        self.message.contains(UNKNOWN_SETTING) || self.entry.is_none() && self.message.contains(SETTING)
    }
}

/// Everything that a load has passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PassedOver {
    pub(super) complaints: Vec<Complaint>,
    /// How many there were beside, which cannot be told.
    pub(super) untold: usize,
}

impl PassedOver {
    pub(super) fn is_nothing(&self) -> bool {
        self.complaints.is_empty() && self.untold == 0
    }

    /// Adds what another run passed over.
    pub(super) fn add(&mut self, other: Self) {
        self.complaints.extend(other.complaints);
        self.untold += other.untold;
    }

    /// As the function of that name, of what was passed over.
    pub(super) fn may_be_of_order(&self) -> bool {
        may_be_of_order(self.complaints.iter().map(|complaint| complaint.message.as_str()))
    }
}

/// Whether what pg_restore says may come of several jobs, which do not keep to the dump's own order.
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

/// Whether a line is more than what it does next, of which it tells much where it is to name objects.
pub(super) fn is_no_chatter(line: &str) -> bool {
    line.strip_prefix(ITSELF).is_none_or(|said| TELLING.iter().any(|begin| said.starts_with(begin)))
}

/// Whether a line belongs to the account of many errors. The statements themselves do not: they may be whole
/// functions.
pub(super) fn is_account(line: &str) -> bool {
    is_no_chatter(line) && [ITSELF, COMMAND, DETAIL].iter().any(|begin| line.starts_with(begin))
}

/// Whether pg_restore went to its end. It says so by the number of errors that it passed over.
pub(super) fn went_to_its_end(stderr: &[String]) -> bool {
    said(stderr).is_some()
}

/// Whether it went to its end, and passed over nothing but the one setting. In its number it does not count
/// all of those of its workers.
pub(super) fn only_tolerated(stderr: &[String]) -> bool {
    let complaints = complaints(stderr);
    let is_all_there = stderr.len() < STDERR_LINES;
    let number = said(stderr);
    is_all_there
        && complaints.iter().all(Complaint::is_tolerated)
        && number.is_some_and(|number| (1..=complaints.len()).contains(&number))
}

/// The account of a load that went to its end; without the one setting where that is tolerated.
pub(super) fn passed_over(stderr: &[String], jobs: u32, tolerates_settings: bool) -> PassedOver {
    let all = complaints(stderr);
    // With several jobs it counts some of them twice.
    let said = said(stderr).filter(|_| jobs == 1 || all.is_empty());
    let untold = said.unwrap_or_default().saturating_sub(all.len());
    let matters = |complaint: &Complaint| !(tolerates_settings && complaint.is_tolerated());
    PassedOver { complaints: all.into_iter().filter(matters).collect(), untold }
}

/// What ended a load that is to end with the first error.
pub(super) fn first(stderr: &[String]) -> Option<Complaint> {
    complaints(stderr).into_iter().next()
}

fn said(stderr: &[String]) -> Option<usize> {
    let last = stderr.last()?.strip_prefix("pg_restore: warning: errors ignored on restore: ")?;
    last.parse().ok()
}

fn complaints(stderr: &[String]) -> Vec<Complaint> {
    let mut found: Vec<Complaint> = Vec::new();
    // It names an entry once, before the first of what it has to say of it.
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
        }
    }
    found
}

/// `215; 1259 16385 TABLE orders postgres`
fn parse_entry(text: &str) -> Option<(u32, String)> {
    let (id, rest) = text.split_once("; ")?;
    let what = rest.splitn(3, ' ').nth(2)?;
    // At the end is the owner; what extensions are made of has none.
    let has_owner = !what.starts_with("EXTENSION ") && !what.starts_with("COMMENT EXTENSION ");
    let named = what.rsplit_once(' ').filter(|(named, _)| has_owner && named.contains(' '));
    Some((id.parse().ok()?, named.map_or(what, |(named, _)| named).to_owned()))
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
    fn everything_that_was_passed_over_is_told_with_its_object() {
        let kept: Vec<String> = lines(ACCOUNT).into_iter().filter(|line| is_account(line)).collect();
        assert!(!kept.iter().any(|line| line.contains("creating")), "{kept:?}");
        assert!(is_no_chatter("CONTEXT:  COPY child, line 1") && !is_account("CONTEXT:  COPY child, line 1"));
        assert!(went_to_its_end(&kept) && !went_to_its_end(&kept[..3]));
        let account = passed_over(&kept, 1, false);
        let entries = [TocEntry::for_test(3450, "MATERIALIZED VIEW DATA", "public", "mirror", &[])];
        let told: Vec<String> =
            account.complaints.iter().map(|complaint| complaint.text(Some(&entries))).collect();
        assert_eq!(
            told,
            [
                "MATERIALIZED VIEW DATA public.mirror: ERROR:  could not connect to server \"away\" (connection refused)",
                "TABLE DATA child: COPY failed for table \"child\": ERROR:  new row violates a check",
                "EXTENSION postgis: ERROR:  no such extension",
                "EXTENSION postgis: FEHLER:  noch etwas",
            ]
        );
        assert_eq!((account.untold, passed_over(&kept, 2, false).untold), (1, 0));
        assert_eq!(first(&kept).unwrap().object(None).unwrap(), "MATERIALIZED VIEW DATA mirror");
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
        let account = passed_over(&lines(&format!("{good}{bad}{two}")), 2, true);
        assert_eq!((account.complaints.len(), account.untold), (1, 0));
    }
}
