use super::automation::ResolveContext;
use super::{number, repository, source};
use crate::model::RepositoryName;
use crate::policy::decode::{Diagnostics, KeyLocation, KeyedTable, Spanned};
use crate::policy::retention::{CalendarSpan, Retention, Rules, SourceRules};
use crate::policy::schema::{RetentionTable, RulesTable, SourceRulesTable};
use crate::policy::source::{Source, SourceConfig};
use crate::policy::value::{KeepSpan, Period, WholeNumber};
use crate::text::format_duration;

const KEEP_LAST: u32 = 3;
const REDUNDANCY: u32 = 2;

/// The settings that every table of rules has.
struct GivenRules<'t> {
    at: &'t KeyLocation,
    keep_last: &'t Option<Spanned<WholeNumber<1, 10_000>>>,
    minimum_redundancy: &'t Option<Spanned<WholeNumber<1, 1_000>>>,
    keep_within: &'t Option<Spanned<KeepSpan<'d'>>>,
    daily: &'t Option<Spanned<KeepSpan<'d'>>>,
    weekly: &'t Option<Spanned<KeepSpan<'w'>>>,
    monthly: &'t Option<Spanned<KeepSpan<'m'>>>,
    yearly: &'t Option<Spanned<KeepSpan<'y'>>>,
    pitr: &'t Option<Spanned<Period>>,
}

macro_rules! given {
    ($table:expr) => {
        GivenRules {
            at: &$table.spot,
            keep_last: &$table.keep_last,
            minimum_redundancy: &$table.minimum_redundancy,
            keep_within: &$table.keep_within,
            daily: &$table.daily,
            weekly: &$table.weekly,
            monthly: &$table.monthly,
            yearly: &$table.yearly,
            pitr: &$table.pitr,
        }
    };
}

pub(super) fn retention(
    table: &Spanned<RetentionTable>,
    context: &ResolveContext<'_>,
    log: &mut Diagnostics<'_>,
) -> Retention {
    let given = given!(table);
    let has_own = |source: &Source| {
        let named = table.sources.iter().flat_map(|sources| &sources.0);
        named.into_iter().any(|(name, _)| name.value == source.name)
    };
    let of_all: Vec<&Source> = context.sources.iter().filter(|source| !has_own(source)).collect();
    // Where every source has rules of its own, none need these.
    if !of_all.is_empty() || given.has_any() {
        given.check(&of_all, log);
    }
    let copies = copies(table.copies.as_ref(), &of_all, context, log);
    let mut sources = Vec::new();
    for (name, own) in table.sources.iter().flat_map(|sources| &sources.0) {
        let source = source::known(&name.value, &name.spot, context.sources, log);
        let sources_of_it: Vec<&Source> = source.into_iter().collect();
        let rules = SourceRules {
            source: name.value.clone(),
            rules: source_rules(own, &sources_of_it, log),
            copies: self::copies(own.copies.as_ref(), &sources_of_it, context, log),
        };
        ambiguous(table.copies.as_ref(), own, &name.value, log);
        sources.push(rules);
    }
    Retention { rules: given.rules(), sources, copies }
}

fn source_rules(table: &Spanned<SourceRulesTable>, of: &[&Source], log: &mut Diagnostics<'_>) -> Rules {
    let given = given!(table);
    given.check(of, log);
    given.rules()
}

fn copies(
    tables: Option<&Spanned<KeyedTable<RepositoryName, RulesTable>>>,
    of: &[&Source],
    context: &ResolveContext<'_>,
    log: &mut Diagnostics<'_>,
) -> Vec<(RepositoryName, Rules)> {
    let mut copies = Vec::new();
    for (name, table) in tables.iter().flat_map(|tables| &tables.0) {
        repository::known(name, context.repositories, log);
        let given = given!(table);
        given.check(of, log);
        copies.push((name.value.clone(), given.rules()));
    }
    copies
}

/// A source and a repository both have rules of their own: which of them count there is not said.
fn ambiguous(
    of_all: Option<&Spanned<KeyedTable<RepositoryName, RulesTable>>>,
    own: &Spanned<SourceRulesTable>,
    source: &crate::model::SourceName,
    log: &mut Diagnostics<'_>,
) {
    let own_copies = || own.copies.iter().flat_map(|copies| &copies.0);
    for (name, table) in of_all.iter().flat_map(|copies| &copies.0) {
        if !own_copies().any(|(own, _)| own.value == name.value) {
            let message =
                format!("does not say whether it counts for `{source}`, which has rules of its own");
            let hint = format!(
                "add `[retention.sources.{source}.copies.{}]` with the rules for it there",
                name.value
            );
            log.fault(&table.spot, message, hint);
        }
    }
}

impl GivenRules<'_> {
    fn has_any(&self) -> bool {
        self.keep_last.is_some() || self.pitr.is_some() || self.spans().iter().any(|(_, span)| span.is_some())
    }

    fn spans(&self) -> [(&'static str, Option<(CalendarSpan, &KeyLocation)>); 5] {
        [
            ("keep_within", self.keep_within.as_ref().map(|span| (span.0, &span.spot))),
            ("daily", self.daily.as_ref().map(|span| (span.0, &span.spot))),
            ("weekly", self.weekly.as_ref().map(|span| (span.0, &span.spot))),
            ("monthly", self.monthly.as_ref().map(|span| (span.0, &span.spot))),
            ("yearly", self.yearly.as_ref().map(|span| (span.0, &span.spot))),
        ]
    }

    fn rules(&self) -> Rules {
        let keep_last = number(self.keep_last).unwrap_or(KEEP_LAST);
        Rules {
            keep_last,
            minimum_redundancy: number(self.minimum_redundancy).unwrap_or(REDUNDANCY.min(keep_last)),
            keep_within: self.keep_within.as_ref().map(|span| span.0),
            daily: self.daily.as_ref().map(|span| span.0),
            weekly: self.weekly.as_ref().map(|span| span.0),
            monthly: self.monthly.as_ref().map(|span| span.0),
            yearly: self.yearly.as_ref().map(|span| span.0),
            pitr: self.pitr.as_ref().map(|pitr| pitr.0),
        }
    }

    /// `of`: the sources that the rules are for.
    fn check(&self, of: &[&Source], log: &mut Diagnostics<'_>) {
        if !self.has_any() && !log.has_faults_at(self.at) {
            let hint = "add a rule, like `daily = \"30d\"`; without the table nothing is removed";
            log.fault(self.at, "has no rule: all but the newest backups would be removed", hint);
        }
        self.check_useless(log);
        self.check_window(of, log);
    }

    /// Rules that keep nothing that another one does not keep anyway.
    fn check_useless(&self, log: &mut Diagnostics<'_>) {
        // What stands for a week also stands for its day, and what stands for a year for its month; what stands for a
        // month is mostly not what stands for its week.
        const COVERED: [(&str, &[&str], u64, &str); 5] = [
            ("keep_within", &[], 0, ""),
            ("daily", &["keep_within"], 1, "day"),
            ("weekly", &["keep_within", "daily"], 7, "week"),
            ("monthly", &["keep_within", "daily"], 28, "month"),
            ("yearly", &["keep_within", "daily", "monthly"], 365, "year"),
        ];
        let spans = self.spans();
        let find = |name: &str| spans.iter().find(|(other, _)| *other == name).and_then(|(_, span)| *span);
        for (name, by, period, word) in COVERED {
            let Some((span, spot)) = find(name) else { continue };
            if span.most_days() < period {
                let hint = format!("make it at least a {word}, or use a rule of shorter periods");
                log.fault(spot, format!("`{span}` is shorter than a {word}"), hint);
                continue;
            }
            let covering = by.iter().filter_map(|by| Some((by, find(by)?.0)));
            if let Some((by, longer)) =
                covering.into_iter().find(|(_, longer)| longer.least_days() >= span.most_days())
            {
                let message = format!("keeps nothing that `{by} = \"{longer}\"` does not keep");
                log.fault(spot, message, format!("make it longer than `{longer}`, or remove it"));
            }
        }
    }

    fn check_window(&self, of: &[&Source], log: &mut Diagnostics<'_>) {
        let Some(pitr) = self.pitr.as_ref() else { return };
        let has_wal = |source: &&Source| match &source.config {
            SourceConfig::Postgres(postgres) => postgres.wal.is_some(),
            // AWS keeps its own.
            SourceConfig::Rds(_) | SourceConfig::AwsBackup(_) => true,
            _ => false,
        };
        if !of.is_empty() && !of.iter().any(has_wal) {
            let hint = "archive it (`methods = [\"base\", \"wal\"]`), or remove `pitr`";
            log.fault(&pitr.spot, "can never matter: no WAL of the source is archived", hint);
        }
        let longest = self.rules().longest_days();
        let needed = pitr.0.as_secs().div_ceil(86_400);
        if let Some(longest) = longest.filter(|longest| *longest < needed) {
            let message = format!(
                "is {}, and no rule keeps backups for more than {longest} days",
                format_duration(pitr.0)
            );
            log.fault(&pitr.spot, message, format!("make a rule as long, like `daily = \"{needed}d\"`"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::policy::CalendarUnit;
    use crate::policy::parse;
    use crate::policy::samples::{POLICY, with};

    const RULES: &str = "daily = 30\nweekly = 27";

    /// Line, message and hint of each fault.
    fn faults(rules: &str) -> Vec<(usize, String, String)> {
        let Err(faults) = parse(Path::new("shop.toml"), &with(RULES, rules)) else { return vec![] };
        let row = |fault: &crate::policy::PolicyFault| {
            (fault.at.unwrap().line, fault.message.clone(), fault.hint.clone().unwrap_or_default())
        };
        faults.faults.iter().map(row).collect()
    }

    fn retention(rules: &str) -> Retention {
        parse(Path::new("shop.toml"), &with(RULES, rules)).unwrap().retention.unwrap()
    }

    #[test]
    fn a_number_alone_is_so_many_of_the_rules_own_periods() {
        let rules = retention("daily = 30\nweekly = 27\nmonthly = 12\nyearly = 7").rules;
        let same = retention("daily = \"30d\"\nweekly = \"27w\"\nmonthly = \"12mo\"\nyearly = \"7y\"").rules;
        assert_eq!(rules, same);
        assert_eq!(rules.weekly, Some(CalendarSpan::new(27, CalendarUnit::Week)));
        assert_eq!((rules.keep_last, rules.minimum_redundancy), (3, 2));
        assert_eq!(retention("keep_last = 1").rules.minimum_redundancy, 1);
    }

    #[test]
    fn the_most_particular_rules_count() {
        let text = "daily = \"30d\"\n[retention.copies.west]\ndaily = \"60d\"\n\
                    [retention.sources.database]\ndaily = \"7d\"\n\
                    [retention.sources.database.copies.west]\nkeep_last = 9";
        let rules = retention(text);
        let days = |source: &str, repository: &str| {
            let rules = rules.rules_in(&source.parse().unwrap(), &repository.parse().unwrap());
            (rules.keep_last, rules.daily.map(|span| span.to_string()))
        };
        assert_eq!(days("database", "primary"), (3, Some("7d".to_owned())));
        assert_eq!(days("database", "west"), (9, None));
        assert_eq!(days("other", "primary"), (3, Some("30d".to_owned())));
        assert_eq!(days("other", "west"), (3, Some("60d".to_owned())));
    }

    #[test]
    fn what_cannot_be_meant_is_a_fault_with_its_line() {
        let line = POLICY.lines().position(|line| line == "daily = 30").unwrap() + 1;
        let cases = [
            ("daily = 0", "keeps nothing", "leave the rule out"),
            ("weekly = \"6m\"", "is not a length of time", "`6mo`"),
            ("", "has no rule", "like `daily"),
            ("weekly = \"3d\"", "shorter than a week", "at least a week"),
            ("monthly = \"2w\"", "shorter than a month", "at least a month"),
            ("daily = \"1y\"\nweekly = \"6mo\"", "keeps nothing that `daily = \"1y\"`", "longer than `1y`"),
            ("keep_within = \"60d\"\ndaily = 30", "keeps nothing that `keep_within", "remove it"),
            ("pitr = \"7d\"\ndaily = 30", "can never matter: no WAL", "methods"),
            ("daily = 30\ncopies.wset = { daily = 3 }", "there is no repository `wset`", "west"),
            (
                "daily = 30\ncopies.west = { daily = 60 }\nsources.database = { daily = 7 }",
                "does not say whether it counts for `database`",
                "[retention.sources.database.copies.west]",
            ),
        ];
        for (rules, message, hint) in cases {
            let found = faults(rules);
            let [(at, said, advice)] = &found[..] else { panic!("{rules}: {found:?}") };
            assert!(said.contains(message) && advice.contains(hint), "{rules}: {said}; {advice}");
            // The table itself is in the line before.
            assert!((line - 1..line + 3).contains(at), "{rules}: line {at}");
        }
        for fine in ["weekly = \"6mo\"", "daily = 7\nweekly = 4\nmonthly = 12\nyearly = 3", "keep_last = 10"]
        {
            assert_eq!(faults(fine), [], "{fine}");
        }
    }

    #[test]
    fn a_window_that_outlasts_every_rule_is_a_fault() {
        let text = with("methods = [\"logical\"]", "methods = [\"base\", \"wal\"]")
            .replace("logical = \"15", "base = \"15");
        let said = |rules: &str| match parse(Path::new("shop.toml"), &text.replace(RULES, rules)) {
            Ok(_) => String::new(),
            Err(faults) => faults.to_string(),
        };
        assert!(said("daily = 7\npitr = \"30d\"").contains("no rule keeps backups for more than 7 days"));
        assert_eq!(said("daily = 30\npitr = \"7d\""), "");
        assert_eq!(said("keep_last = 3\npitr = \"7d\""), "");
    }
}
