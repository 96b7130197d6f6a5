use std::fmt;

use crate::policy::{
    Credentials, NotifyRoute, Policy, RepositoryLocation, ServerSideEncryption, SourceConfig,
};

/// A role that needs permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IamRole {
    /// Takes backups and archives WAL, unattended. Can neither read nor remove what it wrote.
    Writer,
    /// Restores and drills. Holds an identity, and can change only what it created.
    Restorer,
    /// Removes expired backups. Cannot read a backup.
    Retention,
    /// Verifies what is stored and how AWS is configured; read-only.
    Auditor,
    /// For operators in an incident: promotes a restored database to production.
    BreakGlass,
}

impl IamRole {
    pub const ALL: [Self; 5] =
        [Self::Writer, Self::Restorer, Self::Retention, Self::Auditor, Self::BreakGlass];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Restorer => "restorer",
            Self::Retention => "retention",
            Self::Auditor => "auditor",
            Self::BreakGlass => "break-glass",
        }
    }
}

impl fmt::Display for IamRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An AWS account: 12 digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account(String);

impl Account {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the account of an ARN; `None` if there is none.
    fn of_arn(arn: &str) -> Option<Self> {
        let mut parts = arn.split(':');
        (parts.next() == Some("arn")).then_some(())?;
        parts.nth(3)?.parse().ok()
    }

    /// Returns the account of the role that the credentials assume.
    pub(super) fn of_credentials(credentials: &Credentials) -> Option<Self> {
        match credentials {
            Credentials::Role { arn, .. } => Self::of_arn(arn),
            _ => None,
        }
    }
}

impl std::str::FromStr for Account {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(Self(text.to_owned()));
        }
        Err("an account of AWS has 12 digits".to_owned())
    }
}

/// Returns the account that the policy's ARNs name; `None` if they name none, or several.
pub fn account(policy: &Policy) -> Option<Account> {
    let mut known = named(policy);
    if known.len() == 1 { known.pop() } else { None }
}

/// Returns whether the policy's ARNs name any account.
pub(super) fn names_accounts(policy: &Policy) -> bool {
    !named(policy).is_empty()
}

fn named(policy: &Policy) -> Vec<Account> {
    let mut known: Vec<Account> = arns(policy).iter().filter_map(|arn| Account::of_arn(arn)).collect();
    known.sort();
    known.dedup();
    known
}

/// Returns the roles that the policy's credentials assume.
pub(super) fn roles(policy: &Policy) -> Vec<String> {
    let stores = policy.repositories.iter().filter_map(|repository| match &repository.place {
        RepositoryLocation::S3(place) => Some(&place.credentials),
        RepositoryLocation::Directory(_) => None,
    });
    let sources = policy.sources.iter().filter_map(|source| Some(&source.aws_location()?.credentials));
    let role = |credentials: &Credentials| match credentials {
        Credentials::Role { arn, .. } => Some(arn.clone()),
        _ => None,
    };
    stores.chain(sources).filter_map(role).collect()
}

fn arns(policy: &Policy) -> Vec<String> {
    let mut arns = roles(policy);
    for repository in &policy.repositories {
        let RepositoryLocation::S3(place) = &repository.place else { continue };
        if let Some(ServerSideEncryption::Kms { key: Some(key) }) = &place.server_side_encryption {
            arns.push(key.clone());
        }
    }
    for source in &policy.sources {
        match &source.config {
            SourceConfig::Rds(rds) => {
                arns.extend(rds.regions.iter().filter_map(|region| region.kms_key.clone()));
            }
            SourceConfig::AwsBackup(backup) => arns.extend([backup.resource.clone(), backup.role.clone()]),
            _ => {}
        }
    }
    for channel in &policy.notify.channels {
        if let NotifyRoute::Sns { topic, .. } = &channel.route {
            arns.push(topic.clone());
        }
    }
    arns
}

/// Returns the ARN partition of a region: `aws`, or that of China or GovCloud.
pub(super) fn partition(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}
