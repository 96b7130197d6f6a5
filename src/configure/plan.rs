use std::path::Path;
use std::time::Duration;

use super::finding::{Effect, FindingWeight, Fix, SettingFinding, SettingState};
use super::{Access, ServerRole, ServerSetting, SettingFacts};
use crate::model::SourceName;
use crate::policy::{BaseMethod, Policy, PostgresSource, WalMethod};
use crate::postgres::{identifier, literal, shell};
use crate::wal::{CommandState, CommandVerdict, PushTarget};

/// Incomplete segments are switched no more often than this.
const OFTEN: Duration = Duration::from_secs(60);
/// The maximum WAL in MiB that is retained for a slot without a reader.
const KEPT_FOR_SLOT: u64 = 10 << 10;
/// One for a base backup, one for WAL streaming.
const SENDERS: u64 = 2;

/// The requirements of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredSettings {
    /// The policy's role.
    pub role: String,
    /// `None`: WAL is not archived.
    pub through: Option<WalMethod>,
    /// The role connects for replication.
    pub replicates: bool,
    /// Base backups are read from the server's files.
    pub starts_backups: bool,
    /// Base backups are incremental.
    pub incrementals: bool,
    pub rpo: Duration,
    /// The complete `archive_command`.
    pub push: String,
    pub source: SourceName,
    /// The destination of that command.
    pub target: PushTarget,
    /// A password is used, also over a socket.
    pub has_password: bool,
    pub is_socket: bool,
}

impl DesiredSettings {
    /// Returns the requirements of a source; `role` and the way to the server come from its connection
    /// parameters.
    pub fn for_source(
        policy: &Policy,
        name: &SourceName,
        source: &PostgresSource,
        parameters: &crate::postgres::ConnectionParameters,
        push: String,
    ) -> Self {
        let through = source.wal.as_ref().map(|wal| wal.method.clone());
        // A separate server for base backups is configured on its own.
        let base = source.base.as_ref().filter(|base| base.url.is_none() && base.url_ref.is_none());
        let copies = base.is_some_and(|base| base.method == BaseMethod::Replication);
        Self {
            role: parameters.user.clone(),
            replicates: copies || matches!(through, Some(WalMethod::Stream { .. })),
            through,
            starts_backups: base.is_some_and(|base| base.method != BaseMethod::Replication),
            incrementals: base.is_some_and(|base| base.incrementals > 0),
            rpo: policy.objectives.rpo,
            push,
            source: name.clone(),
            target: PushTarget::from_policy(policy),
            has_password: parameters.password.is_some(),
            is_socket: parameters.is_socket(),
        }
    }
}

/// Returns the `archive_command` that archives with this policy, quoted for the server's shell.
pub fn push_command(program: &Path, policy: &Path, source: Option<&SourceName>) -> String {
    // The server itself replaces `%` and a letter.
    let word = |path: &Path| shell(&path.to_string_lossy()).replace('%', "%%");
    let source = source.map(|source| format!("{source} ")).unwrap_or_default();
    format!("{} --policy {} wal push {source}%p", word(program), word(policy))
}

/// Plans every required setting, with its current value. Those with defects come in the order in which they
/// have to be fixed.
pub fn plan(facts: &SettingFacts, wanted: &DesiredSettings) -> Vec<SettingFinding> {
    let mut findings = vec![wal_level(facts), full_page_writes(facts)];
    match &wanted.through {
        // A standby's WAL is archived by its primary.
        Some(WalMethod::Archive) if !facts.is_standby => findings.extend(archiving(facts, wanted)),
        Some(WalMethod::Stream { slot }) => findings.extend(streaming(facts, slot)),
        _ => {}
    }
    if wanted.replicates {
        findings.extend(senders(facts, wanted));
    }
    if wanted.incrementals && facts.major >= 17 {
        let fine = facts.value("summarize_wal") == Some("on");
        let why = "`on`: incremental backups are made from its summaries";
        findings.push(setting(facts, "summarize_wal", fine, why, "on"));
    }
    findings.extend(role(facts, wanted));
    findings
}

/// Plans a setting that has to be `target`, unless it is `fine`.
fn setting(
    facts: &SettingFacts,
    name: &'static str,
    fine: bool,
    wanted: &str,
    target: &str,
) -> SettingFinding {
    let (state, found, takes) = match facts.settings.get(name) {
        None => (SettingState::Unknown, "not visible to the role".to_owned(), Effect::Reload),
        Some(there) => {
            let in_file = facts.files.as_ref().and_then(|files| files.get(name));
            let waits = there.pending_restart && in_file.is_none_or(|value| value == target);
            let state = match (fine, waits) {
                (true, _) => SettingState::Fine,
                (false, true) => SettingState::WaitsForRestart,
                (false, false) => SettingState::Missing,
            };
            let takes = if there.context == "postmaster" { Effect::Restart } else { Effect::Reload };
            (state, format!("`{}`", there.value), takes)
        }
    };
    let remedy = match (state, facts.settings.get(name)) {
        (SettingState::Fine | SettingState::WaitsForRestart, _) => None,
        // It takes precedence over any file.
        (_, Some(ServerSetting { source, .. })) if source == "command line" => Some(Fix::ByHand {
            lines: vec![format!("{name} = {target}")],
            place: "the server's command line, which has it now".to_owned(),
            takes: Effect::Restart,
        }),
        _ => {
            let statement = format!("ALTER SYSTEM SET {name} = {}", literal(target).trim_start());
            Some(Fix::Sql { statements: vec![statement], takes })
        }
    };
    SettingFinding { name, weight: FindingWeight::Needed, state, found, wanted: wanted.to_owned(), remedy }
}

fn wal_level(facts: &SettingFacts) -> SettingFinding {
    let fine = matches!(facts.value("wal_level"), Some("replica" | "logical"));
    setting(
        facts,
        "wal_level",
        fine,
        "`replica` or `logical`: with less, the WAL is not enough for a recovery",
        "replica",
    )
}

fn full_page_writes(facts: &SettingFacts) -> SettingFinding {
    let fine = facts.value("full_page_writes") == Some("on");
    setting(facts, "full_page_writes", fine, "`on`: base backups taken while the server writes need it", "on")
}

fn archiving(facts: &SettingFacts, wanted: &DesiredSettings) -> Vec<SettingFinding> {
    let mode = matches!(facts.value("archive_mode"), Some("on" | "always"));
    let mode = setting(facts, "archive_mode", mode, "`on`", "on");
    let limit = (wanted.rpo / 4).max(OFTEN);
    let timeout = facts.number("archive_timeout").and_then(|timeout| u64::try_from(timeout).ok());
    let fine = timeout.is_some_and(|timeout| (1..=limit.as_secs()).contains(&timeout));
    let why = format!(
        "1 to {} s: otherwise a server that writes little completes no segment within the RPO",
        limit.as_secs()
    );
    // The value leaves room for a temporarily unavailable store.
    let set = (wanted.rpo / 12).clamp(OFTEN, limit);
    let mut timeout = setting(facts, "archive_timeout", fine, &why, &set.as_secs().to_string());
    timeout.found = timeout.found.replace("`0`", "`0` (off)");
    vec![mode, command(facts, wanted), timeout]
}

fn command(facts: &SettingFacts, wanted: &DesiredSettings) -> SettingFinding {
    let library = facts.value("archive_library").unwrap_or_default().trim();
    let state = facts.push.as_ref().map(CommandVerdict::state);
    let fine = state == Some(CommandState::Good) && library.is_empty();
    let mut finding = setting(facts, "archive_command", fine, &format!("`{}`", wanted.push), &wanted.push);
    if finding.state == SettingState::Unknown {
        return finding;
    }
    let (Some(there), Some(verdict)) = (facts.archive_command(), &facts.push) else {
        let found = "not visible to the role while `archive_mode` is off".to_owned();
        return SettingFinding { state: SettingState::Unknown, found, ..finding };
    };
    finding.found = match verdict {
        CommandVerdict::Empty => "nothing".to_owned(),
        CommandVerdict::Archives => format!("`{there}`"),
        verdict => format!("`{there}`, {verdict}"),
    };
    if !library.is_empty() {
        finding.found = format!("{} and `archive_library` `{library}`", finding.found);
        if let Some(Fix::Sql { statements, .. }) = &mut finding.remedy {
            statements.insert(0, "ALTER SYSTEM SET archive_library = ''".to_owned());
        }
    }
    finding.state = match (finding.state, state) {
        (SettingState::Missing, _) if !library.is_empty() => SettingState::Foreign,
        (SettingState::Missing, Some(CommandState::Foreign)) => SettingState::Foreign,
        (SettingState::Missing, Some(CommandState::Unknown)) => SettingState::Unknown,
        (state, _) => state,
    };
    finding
}

fn streaming(facts: &SettingFacts, name: &str) -> Vec<SettingFinding> {
    let mut findings = vec![];
    let slot = facts.slots.iter().find(|slot| slot.name == name);
    let (most, taken) = (facts.number("max_replication_slots").unwrap_or(0), facts.slots.len() as i64);
    let fine = most > if slot.is_some() { 0 } else { taken };
    let why = format!("room for slot `{name}`: {} are taken", taken);
    let target = (taken + 5).max(10).to_string();
    findings.push(setting(facts, "max_replication_slots", fine, &why, &target));
    let kept = facts.number("max_slot_wal_keep_size");
    let why = "a limit: without one, an inactive slot fills the server's disk";
    let target = format!("{KEPT_FOR_SLOT}MB");
    let limit = setting(facts, "max_slot_wal_keep_size", kept.is_some_and(|kept| kept > 0), why, &target);
    findings.push(SettingFinding { weight: FindingWeight::Advised, ..limit });

    let name_of = literal(name);
    let create = format!("SELECT pg_create_physical_replication_slot({}, true)", name_of.trim_start());
    let (state, found, statements) = match slot {
        None => (SettingState::Missing, "no slot".to_owned(), vec![create]),
        Some(slot) if slot.kind != "physical" => {
            (SettingState::Foreign, format!("a {} slot", slot.kind), vec![])
        }
        Some(slot) if slot.wal_status.as_deref() == Some("lost") => {
            let drop = format!("SELECT pg_drop_replication_slot({})", name_of.trim_start());
            (SettingState::Missing, "a slot whose WAL was removed".to_owned(), vec![drop, create])
        }
        Some(slot) => {
            let status = slot.wal_status.as_deref().unwrap_or("not used yet");
            match slot.is_active {
                true => (SettingState::Fine, format!("a slot ({status})"), vec![]),
                false => (SettingState::Idle, format!("an inactive slot ({status})"), vec![]),
            }
        }
    };
    findings.push(SettingFinding {
        name: "slot",
        weight: FindingWeight::Needed,
        state,
        found,
        wanted: format!("a physical slot `{name}`: the server then retains WAL until it is received"),
        remedy: match (state, statements.is_empty()) {
            (SettingState::Foreign, _) => Some(Fix::ByHand {
                lines: vec!["slot = \"another_name\"".to_owned()],
                place: "the policy, since the slot has another use".to_owned(),
                takes: Effect::AtOnce,
            }),
            (_, true) => None,
            (_, false) => Some(Fix::Sql { statements, takes: Effect::AtOnce }),
        },
    });
    findings
}

fn senders(facts: &SettingFacts, wanted: &DesiredSettings) -> Vec<SettingFinding> {
    let most = facts.number("max_wal_senders").unwrap_or(0);
    // Our own stream is one of the existing ones.
    let streams = match &wanted.through {
        Some(WalMethod::Stream { slot }) => {
            facts.slots.iter().any(|other| other.name == *slot && other.is_active)
        }
        _ => false,
    };
    let taken = i64::try_from(facts.senders).unwrap_or(i64::MAX) - i64::from(streams);
    let needed = taken + SENDERS as i64;
    let why = format!("{needed} at least: {taken} are taken, and a backup and the stream need one each");
    let target = needed.max(10).to_string();
    vec![setting(facts, "max_wal_senders", most >= needed, &why, &target)]
}

fn role(facts: &SettingFacts, wanted: &DesiredSettings) -> Vec<SettingFinding> {
    let name = identifier(&wanted.role);
    let granted =
        |name: &'static str, weight, fine: bool, found: String, why: String, statement| SettingFinding {
            name,
            weight,
            state: if fine { SettingState::Fine } else { SettingState::Missing },
            found,
            wanted: why,
            remedy: (!fine).then(|| Fix::Sql { statements: vec![statement], takes: Effect::AtOnce }),
        };
    let Some(role) = &facts.role else {
        let lines =
            vec![format!("CREATE ROLE {name} LOGIN REPLICATION"), format!("GRANT pg_monitor TO {name}")];
        return vec![SettingFinding {
            name: "role",
            weight: FindingWeight::Needed,
            state: SettingState::Missing,
            found: "no such role".to_owned(),
            wanted: format!("a role `{}`, as the policy's url names it", wanted.role),
            remedy: Some(Fix::ByHand {
                lines,
                place: "psql, and give it a password with \\password".to_owned(),
                takes: Effect::AtOnce,
            }),
        }];
    };
    let ServerRole { is_superuser, may_replicate, monitors, may_start_backups, .. } = role;
    let mut findings = vec![granted(
        "pg_monitor",
        FindingWeight::Advised,
        *is_superuser || *monitors,
        if *monitors { "has it".to_owned() } else { "not a member".to_owned() },
        format!("`{}` a member, to read settings and the backlog of the archiver", wanted.role),
        format!("GRANT pg_monitor TO {name}"),
    )];
    if wanted.starts_backups {
        let functions = if facts.major >= 15 {
            "pg_backup_start(text, boolean), pg_backup_stop(boolean)"
        } else {
            "pg_start_backup(text, boolean, boolean), pg_stop_backup(boolean, boolean)"
        };
        findings.push(granted(
            "backup functions",
            FindingWeight::Needed,
            *is_superuser || *may_start_backups,
            if *may_start_backups { "may call them" } else { "may not call them" }.to_owned(),
            format!("`{}` may begin and end a base backup", wanted.role),
            format!("GRANT EXECUTE ON FUNCTION {functions} TO {name}"),
        ));
    }
    if wanted.replicates {
        let fine = *is_superuser || *may_replicate;
        findings.push(granted(
            "replication",
            FindingWeight::Needed,
            fine,
            if fine { "may replicate" } else { "may not replicate" }.to_owned(),
            format!("`{}` may replicate, as base backups and the stream do", wanted.role),
            format!("ALTER ROLE {name} REPLICATION"),
        ));
        findings.push(access(facts, wanted));
    }
    findings
}

fn access(facts: &SettingFacts, wanted: &DesiredSettings) -> SettingFinding {
    let (state, found) = match &facts.access {
        Access::LetIn => (SettingState::Fine, "lets it in".to_owned()),
        Access::Refused(words) => (SettingState::Missing, words.clone()),
        Access::Unknown(why) => (SettingState::Unknown, format!("not tried: {why}")),
        Access::NotTried => {
            (SettingState::Unknown, "not tried, since the role may not replicate yet".to_owned())
        }
    };
    let rules = facts.hba.iter().flatten();
    let meant = |rule: &&super::HbaRule| {
        rule.databases.iter().any(|name| name == "replication")
            && rule.users.iter().any(|name| name == "all" || *name == wanted.role)
    };
    let mut lines = vec![hba_line(facts, wanted)];
    let mut place = facts.value("hba_file").unwrap_or("pg_hba.conf").to_owned();
    if state == SettingState::Missing
        && let Some(rule) = rules.clone().find(meant)
    {
        place = match &rule.error {
            Some(error) => format!("{place}, where line {} is invalid: {error}", rule.line),
            None => format!("{place}, where line {} may already be it after a reload", rule.line),
        };
    }
    if state == SettingState::Fine {
        lines.clear();
    }
    SettingFinding {
        name: "pg_hba.conf",
        weight: if facts.access == Access::NotTried { FindingWeight::Advised } else { FindingWeight::Needed },
        state,
        found,
        wanted: format!(
            "an entry for replication connections by `{}`; `all` does not include them",
            wanted.role
        ),
        remedy: (!lines.is_empty()).then_some(Fix::ByHand { lines, place, takes: Effect::Reload }),
    }
}

fn hba_line(facts: &SettingFacts, wanted: &DesiredSettings) -> String {
    let role = &wanted.role;
    let plain = role.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    // A name that is also a keyword has to be quoted, too.
    let reserved = ["all", "replication", "samerole", "sameuser"].contains(&role.as_str());
    let role = if plain && !reserved { role.clone() } else { identifier(role) };
    let method = match facts.value("password_encryption") {
        Some("md5") => "md5",
        _ => "scram-sha-256",
    };
    match &facts.client {
        Some(address) if !wanted.is_socket => {
            let bits = if address.contains(':') { 128 } else { 32 };
            let kind = if facts.tls { "hostssl" } else { "host" };
            format!("{kind} replication {role} {address}/{bits} {method}")
        }
        _ => format!("local replication {role} {}", if wanted.has_password { method } else { "peer" }),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
