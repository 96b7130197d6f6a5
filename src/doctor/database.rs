use super::{Area, Finding};
use crate::event::told;
use crate::policy::{PostgresSource, Source, SourceConfig};
use crate::source::base::{self, BaseError};
use crate::source::logical::{self, LogicalError, Prepared};

/// Connects as a backup would and looks at what it would need.
pub(super) async fn examine(source: &Source) -> Vec<Finding> {
    let subject = source.name.as_str();
    match &source.config {
        SourceConfig::Postgres(postgres) => examine_postgres(subject, postgres).await,
        SourceConfig::NotBuilt { kind } => vec![Finding::fault(
            Area::Source,
            subject,
            format!("this version of drctl cannot back up sources of kind `{kind}`"),
            "Back it up by other means until a version that can; every run of it here fails.",
        )],
    }
}

async fn examine_postgres(subject: &str, postgres: &PostgresSource) -> Vec<Finding> {
    let mut findings = vec![];
    if postgres.logical.is_some() {
        match logical::prepare(postgres).await {
            Ok(prepared) => findings.extend(describe(subject, &prepared)),
            Err(error) => {
                findings.push(Finding::fault(Area::Source, subject, told(&error), remedy(&error)));
            }
        }
    }
    if let Some(copy) = &postgres.base {
        findings.push(match base::prepare(postgres, copy).await {
            Ok(prepared) => describe_base(subject, &prepared),
            Err(error) => Finding::fault(Area::Source, subject, told(&error), base_remedy(&error)),
        });
    }
    findings
}

fn describe_base(subject: &str, prepared: &base::Prepared) -> Finding {
    let through = match &prepared.reader {
        base::Reader::Replication(tools) => {
            format!("{} copies it", tools.version.replacen("pg_dump", "pg_basebackup", 1))
        }
        base::Reader::DataDirectory(path) => format!("`{}` can be read", path.display()),
    };
    let checked =
        if prepared.page_checksums { "" } else { "; its pages have no checksums, so damage is not seen" };
    let version = &prepared.server.version;
    Finding::good(
        Area::Source,
        subject,
        format!("the cluster is PostgreSQL {version} and can be copied whole: {through}{checked}"),
    )
}

fn base_remedy(error: &BaseError) -> &'static str {
    match error {
        BaseError::Connect(_) => {
            "Check that the server runs, and the url, password and TLS settings of the source."
        }
        BaseError::Refused { .. } => "Each line says what to change.",
        _ => "Try again with -v; if it stays, look into the server's log.",
    }
}

fn describe(subject: &str, prepared: &Prepared) -> Vec<Finding> {
    let parameters = &prepared.parameters;
    let mut findings = vec![Finding::good(
        Area::Source,
        subject,
        format!(
            "`{}` is PostgreSQL {}; `{}` may read all of it and {} dumps it",
            parameters.database, prepared.server.version, parameters.user, prepared.tools.version
        ),
    )];
    if prepared.is_standby {
        findings.push(Finding::note(
            Area::Source,
            subject,
            "the server is a standby: unlogged tables are empty there, and a dump may be cancelled by replay",
        ));
    }
    if !prepared.reads_passwords {
        findings.push(Finding::note(
            Area::Source,
            subject,
            "the role may not read password hashes: after a restore with --globals, passwords must be set again",
        ));
    }
    findings
}

fn remedy(error: &LogicalError) -> &'static str {
    match error {
        LogicalError::Connect(_) => {
            "Check that the server runs, and the url, password and TLS settings of the source."
        }
        LogicalError::Tools { .. } => {
            "Install the client programs of that PostgreSQL version, or name their directory as `tools`."
        }
        LogicalError::Unreadable { .. } => {
            "Grant the role pg_read_all_data (and BYPASSRLS where row security is used), or back up as the owner."
        }
        _ => "Try again with -v; if it stays, look into the server's log.",
    }
}
