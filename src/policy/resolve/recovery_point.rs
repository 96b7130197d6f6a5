//! Which sources belong together.

use std::time::Duration;

use super::source;
use crate::model::SourceName;
use crate::policy::decode::{Diagnostics, Spanned};
use crate::policy::recovery_point::{PauseHooks, PointPolicy, Reference};
use crate::policy::resolve::methods::unused;
use crate::policy::schema::{RecoveryPointTable, ReferenceTable};
use crate::policy::source::{Source, SourceConfig};

const DEADLINE: Duration = Duration::from_secs(5 * 60);

pub(super) fn recovery_point(
    table: &Spanned<RecoveryPointTable>,
    sources: &[Source],
    log: &mut Diagnostics<'_>,
) -> PointPolicy {
    let named = table.sources.iter().flat_map(|names| &names.value);
    if let Some(names) = table.sources.as_ref().filter(|names| names.is_empty())
        && !log.has_faults_at(&names.spot)
    {
        log.fault(
            &names.spot,
            "names no source",
            "name the sources that belong together, the database first",
        );
    }
    let mut members: Vec<SourceName> = Vec::new();
    for name in named {
        if members.contains(&name.value) {
            log.fault(&name.spot, format!("names `{}` twice", name.value), "name each source once");
            continue;
        }
        if let Some(source) = source::known(&name.value, &name.spot, sources, log)
            && let Some(why) = cannot_take_part(source)
        {
            let hint = "leave it out: its own backups, and `drctl restore` of it alone, are not affected";
            log.fault(&name.spot, format!("names `{}`, {why}", name.value), hint);
        }
        members.push(name.value.clone());
    }
    let pause = hooks(table, log);
    let references = table.references.iter().flat_map(|references| &references.value);
    let references =
        references.filter_map(|reference| self::reference(reference, &members, sources, log)).collect();
    PointPolicy { members, pause, references }
}

/// Returns why the application could not be held still for a source, or the source not be restored with others.
fn cannot_take_part(source: &Source) -> Option<&'static str> {
    match &source.config {
        SourceConfig::AwsBackup(_) => Some(
            "which AWS Backup copies at a time of its own and restores into a resource of its own: it cannot take part in a recovery point",
        ),
        SourceConfig::Rds(rds) if rds.login.as_ref().is_none_or(|login| login.logical.is_none()) => Some(
            "of which only AWS takes snapshots, at a time of its own: without dumps (`methods = [\"snapshot\", \"logical\"]`) it cannot take part in a recovery point",
        ),
        _ => None,
    }
}

fn hooks(table: &Spanned<RecoveryPointTable>, log: &mut Diagnostics<'_>) -> Option<PauseHooks> {
    for program in [&table.pause, &table.resume].into_iter().flatten() {
        if program.is_empty() && !log.has_faults_at(&program.spot) {
            log.fault(
                &program.spot,
                "names no program",
                "write it like `[\"/usr/local/bin/maintenance\", \"on\"]`",
            );
        }
    }
    match (&table.pause, &table.resume) {
        (Some(pause), None) => {
            let hint = "add `resume`: without it the application would stay paused";
            log.fault(&pause.spot, "has no `resume`", hint);
        }
        (None, Some(resume)) => {
            log.fault(&resume.spot, "resumes what nothing pauses", "add `pause`, or remove it");
        }
        (None, None) => unused(&table.deadline, "it is the limit of `pause`, which is not given", log),
        (Some(_), Some(_)) => {}
    }
    let words = |program: &Spanned<Vec<Spanned<String>>>| -> Vec<String> {
        program.value.iter().map(|word| word.value.clone()).collect()
    };
    Some(PauseHooks {
        pause: words(table.pause.as_ref()?),
        resume: words(table.resume.as_ref()?),
        deadline: table.deadline.as_ref().map_or(DEADLINE, |deadline| deadline.0),
    })
}

fn reference(
    table: &Spanned<ReferenceTable>,
    members: &[SourceName],
    sources: &[Source],
    log: &mut Diagnostics<'_>,
) -> Option<Reference> {
    let (rows, files) = (table.source.as_ref()?, table.files.as_ref()?);
    for name in [rows, files] {
        let Some(source) = source::known(&name.value, &name.spot, sources, log) else { continue };
        let fault = match &source.config {
            _ if !members.contains(&source.name) => {
                Some(("is not a source of this recovery point", "add it to `recovery_point.sources`"))
            }
            _ if std::ptr::eq(name, rows) && source.login().is_none() => {
                Some(("has no database that could be queried", "name a source of kind `postgres`"))
            }
            SourceConfig::Files(_) | SourceConfig::Command(_) => None,
            _ if std::ptr::eq(name, files) => {
                Some(("is not restored as files", "name a source of kind `files`"))
            }
            _ => None,
        };
        if let Some((message, hint)) = fault {
            log.fault(&name.spot, message, hint);
        }
    }
    let prefix = table.prefix.as_ref().map(|prefix| prefix.value.trim_matches('/').to_owned());
    if let Some(prefix) = table.prefix.as_ref().filter(|prefix| prefix.split('/').any(|part| part == "..")) {
        log.fault(&prefix.spot, "leads out of the restored files", "write it without `..`");
    }
    Some(Reference {
        source: rows.value.clone(),
        query: table.sql.as_ref()?.value.clone(),
        files: files.value.clone(),
        prefix: prefix.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use crate::policy::samples::with;
    use crate::policy::{Policy, parse};

    const UPLOADS: &str = "[sources.uploads]\nkind = \"files\"\npaths = [\"/srv/uploads\"]\n";
    const SEARCH: &str = "[sources.search]\nkind = \"redis\"\nurl = \"redis://localhost\"\n";

    fn policy(point: &str) -> Result<Policy, Vec<String>> {
        let one = with("[drill]\n", "[drill]\nsource = \"database\"\n");
        let text = format!("{one}\n{UPLOADS}{SEARCH}[recovery_point]\n{point}");
        parse(Path::new("shop.toml"), &text).map_err(|faults| {
            faults.faults.iter().map(|fault| format!("{}: {}", fault.key, fault.message)).collect()
        })
    }

    #[test]
    fn members_keep_their_order_and_the_pause_has_a_deadline() {
        let point = "sources = [\"database\", \"uploads\"]\npause = [\"/bin/stop\"]\nresume = [\"/bin/go\", \"now\"]\n\
                     references = [{ source = \"database\", sql = \"select path from uploads\", files = \"uploads\", prefix = \"/srv/uploads/\" }]\n";
        let point = policy(point).unwrap().recovery_point.unwrap();
        let members: Vec<_> = point.members.iter().map(|member| member.as_str()).collect();
        assert_eq!(members, ["database", "uploads"]);
        let pause = point.pause.unwrap();
        assert_eq!((pause.resume.len(), pause.deadline), (2, Duration::from_secs(300)));
        assert_eq!(point.references[0].prefix, "srv/uploads");
    }

    #[test]
    fn what_cannot_be_one_point_is_refused() {
        let faults = |point: &str| policy(point).map(|_| ()).unwrap_err();
        assert_eq!(
            faults("sources = [\"database\", \"uplaods\"]"),
            ["recovery_point.sources[1]: there is no source `uplaods`"]
        );
        assert_eq!(
            faults("sources = [\"database\", \"database\"]"),
            ["recovery_point.sources[1]: names `database` twice"]
        );
        assert_eq!(faults("sources = []"), ["recovery_point.sources: names no source"]);
        let two = "sources = [\"database\", \"uploads\"]\n";
        assert_eq!(
            faults(&format!("{two}pause = [\"/bin/stop\"]")),
            ["recovery_point.pause: has no `resume`"]
        );
        assert_eq!(
            faults(&format!("{two}pause = []\nresume = [\"/bin/go\"]")),
            ["recovery_point.pause: names no program"]
        );
        assert_eq!(faults(&format!("{two}deadline = \"1m\"")), ["recovery_point.deadline: is not used"]);
        let reference = |source: &str, files: &str| {
            format!(
                "{two}references = [{{ source = \"{source}\", sql = \"select 1\", files = \"{files}\" }}]"
            )
        };
        assert_eq!(
            faults(&reference("uploads", "search")),
            [
                "recovery_point.references[0].source: has no database that could be queried",
                "recovery_point.references[0].files: is not a source of this recovery point",
            ]
        );
        let aws = "sources = [\"shared\"]\n[sources.shared]\nkind = \"aws-backup\"\nvault = \"v\"\nrole = \"arn:aws:iam::123456789012:role/r\"\n\
                   resource = \"arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/fs-0123456789abcdef0\"\n";
        let [fault] = &faults(aws)[..] else { panic!("{:?}", faults(aws)) };
        assert!(fault.contains("cannot take part in a recovery point"), "{fault}");
    }
}
