//! Which settings to override where AWS refuses the recorded ones.

use super::Hints;
use crate::aws::{AwsFailure, PollError};
use crate::cli::exit::Exit;
use crate::restore::rds::{OverrideKey, RdsAftermath, RdsRestorePlan, RdsRestoreRequest};
use crate::restore::{AwsRestoreError, RestoreFailed};

/// Creates an instance of an existing cluster.
const MEMBER: &str = "CreateDBInstance";
const RESTORES: [&str; 4] = [
    "RestoreDBInstanceFromDBSnapshot",
    "RestoreDBInstanceToPointInTime",
    "RestoreDBClusterFromSnapshot",
    "RestoreDBClusterToPointInTime",
];

impl Hints for RdsRestoreRequest {
    fn before(_error: &AwsRestoreError) -> (Exit, Vec<String>) {
        (Exit::Failed, vec![])
    }

    /// Returns no hints where no setting helps.
    fn after(plan: &RdsRestorePlan, failed: &RestoreFailed<AwsRestoreError, RdsAftermath>) -> Vec<String> {
        match &failed.error {
            AwsRestoreError::Aws(refused) if refused.operation == MEMBER => of_member(plan, refused),
            AwsRestoreError::Aws(refused) if RESTORES.contains(&refused.operation) => {
                of_refusal(plan, refused)
            }
            AwsRestoreError::Wait(PollError::Failed { status, .. }) => of_status(plan, status),
            _ => vec![],
        }
    }
}

/// Returns AWS's error code, and a test whether its message has one of some words.
fn words(refused: &AwsFailure) -> (&str, impl Fn(&[&str]) -> bool) {
    let code = refused.code.as_deref().unwrap_or_default().trim_end_matches("Fault");
    let detail = refused.detail.to_ascii_lowercase();
    (code, move |words: &[&str]| words.iter().any(|word| detail.contains(word)))
}

const CERTIFICATE: [&str; 4] = ["cacertificate", "ca certificate", "certificate authority", "rds-ca-"];
const CLASS: [&str; 2] = ["instanceclass", "instance class"];
const ZONE: [&str; 2] = ["availability zone", "availabilityzone"];

/// The cluster already has its network, key and version.
fn of_member(plan: &RdsRestorePlan, refused: &AwsFailure) -> Vec<String> {
    let (code, says) = words(refused);
    match code {
        "InsufficientDBInstanceCapacity" => class(plan).into_iter().chain(zone(plan)).collect(),
        "CertificateNotFound" => certificate(),
        code if code.starts_with("Invalid") => match () {
            () if says(&CERTIFICATE) => certificate(),
            () if says(&CLASS) => class(plan),
            () if says(&ZONE) => zone(plan),
            () => vec![],
        },
        _ => vec![],
    }
}

fn of_refusal(plan: &RdsRestorePlan, refused: &AwsFailure) -> Vec<String> {
    let (code, says) = words(refused);
    match code {
        "InsufficientDBInstanceCapacity" | "InsufficientDBClusterCapacity" => capacity(plan),
        "CertificateNotFound" => certificate(),
        "StorageQuotaExceeded" => elsewhere(plan, "Storage is never less than the snapshot's"),
        "KMSKeyNotAccessible" => key(plan),
        "DBSubnetGroupDoesNotCoverEnoughAZs" => zones(plan),
        "DBSubnetGroupNotFound" | "InvalidSubnet" | "InvalidVPCNetworkState" => network(plan),
        "DBParameterGroupNotFound" | "DBClusterParameterGroupNotFound" => parameters(),
        "OptionGroupNotFound" => options(),
        "StorageTypeNotSupported" | "ProvisionedIopsNotAvailableInAZ" => storage(),
        "NetworkTypeNotSupported" => {
            vec!["The same command with `--set network_type=IPV4` goes on.".to_owned()]
        }
        // AWS uses the same code for all of them; only the messages differ.
        code if code.starts_with("Invalid") => match () {
            () if says(&CERTIFICATE) => certificate(),
            () if says(&["kms"]) => key(plan),
            () if says(&CLASS) => class(plan),
            () if says(&["find version", "engineversion", "engine version"]) => version(plan),
            () if says(&["security group"]) => {
                vec!["The same command with `--set security_groups=GROUP,GROUP` takes others.".to_owned()]
            }
            () if says(&["subnet group", "subnetgroup"]) => network(plan),
            () if says(&["parameter group", "parametergroup"]) => parameters(),
            () if says(&["option group", "optiongroup"]) => options(),
            () if says(&["storage type", "storagetype", "iops", "throughput"]) => storage(),
            () if says(&ZONE) => zones(plan),
            () => vec![format!(
                "If it is one of these that AWS refuses, the same command with `--set KEY=VALUE` takes another: {}.",
                OverrideKey::listed()
            )],
        },
        _ => vec![],
    }
}

/// Advice for a terminal state: it is recreated under another name.
fn of_status(plan: &RdsRestorePlan, status: &str) -> Vec<String> {
    let hints = match status {
        "insufficient-capacity" => capacity(plan),
        "incompatible-network" => network(plan),
        "incompatible-parameters" => parameters(),
        "incompatible-option-group" => options(),
        status if status.starts_with("inaccessible-encryption-credentials") => key(plan),
        _ => return vec![],
    };
    let another = "Under another name, with `--to-instance`, it can be made otherwise.".to_owned();
    std::iter::once(another).chain(hints).collect()
}

fn capacity(plan: &RdsRestorePlan) -> Vec<String> {
    let mut hints = class(plan);
    if plan.is_multi_az() {
        hints.push("`--set multi_az=no` needs room for one instance, and not for two; it can be made Multi-AZ afterwards.".to_owned());
    } else if !plan.is_cluster() {
        hints.extend(zone(plan));
    }
    hints.extend(elsewhere(plan, "No class may have room there"));
    hints
}

fn zone(plan: &RdsRestorePlan) -> Vec<String> {
    vec![format!("Another zone may have room: `--set zone={}a`.", plan.chosen.region)]
}

fn class(plan: &RdsRestorePlan) -> Vec<String> {
    let version = plan.engine.1.as_ref().map(|version| format!(" --engine-version {version}"));
    vec![format!(
        "The same command with `--set class=CLASS` takes another; `aws rds describe-orderable-db-instance-options --region {} --engine {}{} --query 'OrderableDBInstanceOptions[].DBInstanceClass' --output text` lists those that there are.",
        plan.chosen.region,
        plan.engine.0,
        version.unwrap_or_default()
    )]
}

fn certificate() -> Vec<String> {
    vec!["The same command with `--set ca=default` takes the certificate authority that AWS gives to new ones, or `--set ca=NAME` another: what connects must trust it.".to_owned()]
}

fn version(plan: &RdsRestorePlan) -> Vec<String> {
    match plan.is_cluster() {
        true => vec!["The same command with `--set engine_version=default` takes the snapshot's own, or `--set engine_version=VERSION` a newer one.".to_owned()],
        false => vec!["RDS gives an instance the version of its snapshot: `aws rds modify-db-snapshot --engine-version VERSION` upgrades that; then run the same command.".to_owned()],
    }
}

fn key(plan: &RdsRestorePlan) -> Vec<String> {
    let mut hints = Vec::new();
    if plan.is_cluster() {
        hints.push("The same command with `--set kms_key=ARN` encrypts it with another key of that region; the snapshot's own must be usable all the same, to read it.".to_owned());
    }
    hints.extend(elsewhere(plan, "A snapshot is read with its own key, and a copy elsewhere has another"));
    hints
}

fn zones(plan: &RdsRestorePlan) -> Vec<String> {
    let mut hints = network(plan);
    if plan.is_multi_az() {
        hints.push("`--set multi_az=no` needs one zone only; it can be made Multi-AZ afterwards.".to_owned());
    }
    hints
}

fn network(plan: &RdsRestorePlan) -> Vec<String> {
    vec![format!(
        "The same command with `--set subnet_group=NAME --set security_groups=GROUP,GROUP` takes another network; `aws rds describe-db-subnet-groups --region {}` lists what there is.",
        plan.chosen.region
    )]
}

fn parameters() -> Vec<String> {
    vec!["The same command with `--set parameter_group=default` takes AWS's own parameters, or `--set parameter_group=NAME` a group of that region.".to_owned()]
}

fn options() -> Vec<String> {
    vec!["The same command with `--set option_group=default` does without it.".to_owned()]
}

fn storage() -> Vec<String> {
    vec!["The same command with `--set storage_type=gp3` takes storage that every zone has, without the speed that was bought.".to_owned()]
}

/// Returns the other regions of the policy with backups of it.
fn elsewhere(plan: &RdsRestorePlan, why: &str) -> Vec<String> {
    let other = plan.elsewhere.iter().map(|region| format!("`--from {region}`")).collect::<Vec<_>>();
    if other.is_empty() {
        return vec![];
    }
    vec![format!("{why}: the policy also has backups for {}.", other.join(" and "))]
}
