use super::{Area, DoctorFinding, restores};
use crate::configure;
use crate::configure::{ConfigureError, DesiredSettings, FindingWeight, ServerSession, SettingState};
use crate::model::SourceName;
use crate::platform::CancellationToken;
use crate::policy::{Policy, PostgresSource, Source, SourceConfig};
use crate::postgres::{ConnectError, ConnectionParameters, close};
use crate::source::open;
use crate::source::postgres_base;
use crate::source::postgres_base::{BaseError, BasePreflight};
use crate::source::postgres_dump::capture;
use crate::source::postgres_dump::capture::{DumpCapture, LogicalError};
use crate::text::error_chain;

/// Connects as a backup would, and checks what it would need.
pub(super) async fn examine(policy: &Policy, source: &Source) -> Vec<DoctorFinding> {
    match &source.config {
        SourceConfig::Postgres(postgres) => examine_postgres(policy, &source.name, postgres).await,
        // AWS is queried for those separately.
        SourceConfig::AwsBackup(_) => vec![],
        _ => examine_content(source).await,
    }
}

/// Prepares a backup of what is no PostgreSQL database, as a run would.
async fn examine_content(source: &Source) -> Vec<DoctorFinding> {
    let (subject, opened) = (source.name.as_str(), open(source));
    let mut findings = vec![];
    for kind in &source.kinds {
        findings.push(match opened.prepare(*kind).await {
            Ok(_) => DoctorFinding::good(Area::Source, subject, format!("its `{kind}` backup can begin")),
            Err(error) => DoctorFinding::fault(
                Area::Source,
                subject,
                error_chain(&error),
                "Correct the source in the policy, or what it names: until then every backup of it fails.",
            ),
        });
    }
    findings
}

pub(super) async fn examine_postgres(
    policy: &Policy,
    source: &SourceName,
    postgres: &PostgresSource,
) -> Vec<DoctorFinding> {
    let subject = source.as_str();
    let mut findings = vec![];
    if postgres.logical.is_some() {
        match capture::prepare(postgres).await {
            Ok(prepared) => {
                findings.extend(describe(subject, &prepared));
                findings.extend(restores::examine(subject, &prepared.parameters).await);
            }
            Err(error) => {
                findings.push(DoctorFinding::fault(
                    Area::Source,
                    subject,
                    error_chain(&error),
                    remedy(&error),
                ));
            }
        }
    }
    let mut configured = false;
    if postgres.wal.is_some() {
        let set_up = match lacking(policy, source, postgres).await {
            Ok(lacking) => lacking,
            Err(error) => {
                let remedy =
                    "Check that the server runs, and the url, password and TLS settings of the source.";
                return vec![DoctorFinding::fault(Area::Source, subject, error_chain(&error), remedy)];
            }
        };
        configured = true;
        findings.extend(describe_set_up(subject, &set_up));
    }
    if let Some(copy) = &postgres.base {
        match postgres_base::prepare(postgres, copy).await {
            Ok(prepared) => findings.push(describe_base(subject, &prepared)),
            Err(BaseError::Refused { server, mut list }) => {
                // Those are reported individually, with a remedy.
                let is_of_set_up = |objection: &BasePreflight| {
                    use BasePreflight as O;
                    let own = copy.url.is_none() && copy.url_ref.is_none();
                    match objection {
                        O::MinimalLog | O::ArchivingOff | O::NoArchiveCommand => true,
                        O::NoReplication { .. } | O::ReplicationRefused { .. } | O::MayNotStart { .. } => own,
                        _ => false,
                    }
                };
                list.retain(|objection| !(configured && is_of_set_up(objection)));
                if !list.is_empty() {
                    let error = BaseError::Refused { server, list };
                    findings.push(DoctorFinding::fault(
                        Area::Source,
                        subject,
                        error_chain(&error),
                        base_remedy(&error),
                    ));
                }
            }
            Err(error) => {
                findings.push(DoctorFinding::fault(
                    Area::Source,
                    subject,
                    error_chain(&error),
                    base_remedy(&error),
                ));
            }
        }
    }
    findings
}

/// Returns the server's configuration defects.
async fn lacking(
    policy: &Policy,
    source: &SourceName,
    postgres: &PostgresSource,
) -> Result<Vec<configure::SettingFinding>, ConfigureError> {
    let parameters = ConnectionParameters::resolve(postgres).await?;
    let wanted =
        DesiredSettings::for_source(policy, source, postgres, &parameters, "drctl wal push %p".to_owned());
    let server = ServerSession { parameters, administrator: None, tools: postgres.tools.clone() };
    let mut connection = server.connect().await?;
    let facts = server.facts(&mut connection, &wanted, &CancellationToken::new()).await;
    close(connection).await;
    Ok(configure::plan(&facts?, &wanted))
}

fn describe_set_up(subject: &str, set_up: &[configure::SettingFinding]) -> Vec<DoctorFinding> {
    let lacking = set_up.iter().filter(|finding| finding.is_open());
    let mut findings: Vec<_> = lacking
        .map(|finding| {
            let message = format!("{}: {}; needed: {}", finding.name, finding.found, finding.wanted);
            let remedy = if finding.state == SettingState::WaitsForRestart {
                "Restart the server.".to_owned()
            } else {
                format!(
                    "`drctl wal configure {subject}` has the statement or line; `--apply` runs what is SQL."
                )
            };
            match (finding.weight, finding.state) {
                (
                    FindingWeight::Needed,
                    SettingState::Missing | SettingState::Foreign | SettingState::WaitsForRestart,
                ) => DoctorFinding::fault(Area::Source, subject, message, remedy),
                _ => DoctorFinding::warning(Area::Source, subject, message, remedy),
            }
        })
        .collect();
    if findings.is_empty() {
        let message = "the server is configured to archive WAL as the policy asks";
        findings.push(DoctorFinding::good(Area::Source, subject, message));
    }
    findings
}

fn describe_base(subject: &str, prepared: &postgres_base::BaseBackupCapture) -> DoctorFinding {
    let through = match &prepared.reader {
        postgres_base::SettingsReader::Replication(tools) => {
            format!("{} copies it", tools.version.replacen("pg_dump", "pg_basebackup", 1))
        }
        postgres_base::SettingsReader::DataDirectory(path) => format!("`{}` can be read", path.display()),
    };
    let checked = if prepared.page_checksums {
        ""
    } else {
        "; data checksums are off, so damaged pages are not detected"
    };
    let version = &prepared.server.version;
    DoctorFinding::good(
        Area::Source,
        subject,
        format!("base backups of the PostgreSQL {version} cluster can be taken: {through}{checked}"),
    )
}

fn base_remedy(error: &BaseError) -> &'static str {
    match error {
        BaseError::Connect(_) => {
            "Check that the server runs, and the url, password and TLS settings of the source."
        }
        BaseError::Refused { .. } => "Each line says what to change.",
        _ => "Retry with -v; if it persists, check the server log.",
    }
}

fn describe(subject: &str, prepared: &DumpCapture) -> Vec<DoctorFinding> {
    let parameters = &prepared.parameters;
    let mut findings = vec![DoctorFinding::good(
        Area::Source,
        subject,
        format!(
            "`{}` is PostgreSQL {}; `{}` can read all of it, and {} dumps it",
            parameters.database, prepared.server.version, parameters.user, prepared.tools.version
        ),
    )];
    if prepared.is_standby {
        findings.push(DoctorFinding::note(
            Area::Source,
            subject,
            "the server is a standby: unlogged tables are empty there, and a dump may be cancelled by replay",
        ));
    }
    if !prepared.reads_passwords {
        findings.push(DoctorFinding::note(
            Area::Source,
            subject,
            "the role cannot read password hashes: after a restore with --globals, passwords must be set again",
        ));
    }
    findings
}

fn remedy(error: &LogicalError) -> &'static str {
    match error {
        LogicalError::Connect(ConnectError::TokenRefused { .. }) => {
            "`drctl iam show` prints what the role in AWS needs, including `rds-db:connect`."
        }
        LogicalError::Connect(
            ConnectError::Pooler { .. }
            | ConnectError::Variable { .. }
            | ConnectError::VariableValue { .. }
            | ConnectError::OnlyLibpq { .. }
            | ConnectError::SeveralHosts { .. }
            | ConnectError::ServiceFile { .. }
            | ConnectError::ServiceLine { .. }
            | ConnectError::NoService { .. }
            | ConnectError::ServiceParameter { .. }
            | ConnectError::ServiceValue { .. }
            | ConnectError::Contradicted { .. }
            | ConnectError::Revocations(_),
        ) => "As the message says.",
        LogicalError::Connect(ConnectError::Token { .. }) => {
            "Give the host credentials, or name them in the source."
        }
        LogicalError::Connect(_) => {
            "Check that the server runs, and the url, password and TLS settings of the source."
        }
        LogicalError::Tools { .. } => {
            "Install the client programs of that PostgreSQL version, or name their directory as `tools`."
        }
        LogicalError::Unreadable { .. } => {
            "Grant the role pg_read_all_data (and BYPASSRLS where row security is used), or back up as the owner."
        }
        _ => "Retry with -v; if it persists, check the server log.",
    }
}
