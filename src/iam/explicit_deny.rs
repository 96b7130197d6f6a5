use super::IamRole;
use super::builder::Builder;

/// Disabling or deleting a key destroys every backup encrypted with it.
const KEYS: [&str; 3] = ["kms:DisableKey", "kms:PutKeyPolicy", "kms:ScheduleKeyDeletion"];
/// Changes to the protection of a bucket.
const GUARDS: [&str; 8] = [
    "s3:BypassGovernanceRetention",
    "s3:DeleteBucket*",
    "s3:PutBucketObjectLockConfiguration",
    "s3:PutBucketPolicy",
    "s3:PutBucketVersioning",
    "s3:PutLifecycleConfiguration",
    "s3:PutObjectLegalHold",
    "s3:PutReplicationConfiguration",
];
/// Changes to AWS-managed backups and their protection.
const KEPT: [&str; 6] = [
    "rds:DeleteDBClusterAutomatedBackup",
    "rds:DeleteDBInstanceAutomatedBackup",
    "rds:StopDBInstanceAutomatedBackupsReplication",
    "backup:DeleteBackupVault*",
    "backup:DisassociateRecoveryPoint*",
    "backup:PutBackupVaultAccessPolicy",
];
const DELETIONS: [&str; 7] = [
    "s3:DeleteObject*",
    "rds:DeleteDBSnapshot",
    "rds:DeleteDBClusterSnapshot",
    "rds:DeleteTenantDatabase",
    "backup:DeleteRecoveryPoint",
    "backup:DeleteBackupPlan",
    "backup:UpdateRecoveryPointLifecycle",
];
const SHARING: [&str; 2] = ["rds:ModifyDBSnapshotAttribute", "rds:ModifyDBClusterSnapshotAttribute"];
const CHANGES: [&str; 4] =
    ["rds:DeleteDBInstance", "rds:DeleteDBCluster", "rds:ModifyDBInstance", "rds:ModifyDBCluster"];

/// Denies what a role must never be able to do, whatever else is attached to it. Denials cover all resources,
/// so that none is missed.
pub(super) fn deny(builder: &mut Builder<'_>, shares: bool) {
    let everything = || ["*".to_owned()];
    let role = builder.role;
    let mut never: Vec<&str> = KEYS.into_iter().chain(GUARDS).chain(KEPT).collect();
    if role != IamRole::Retention {
        never.extend(DELETIONS);
    }
    match role {
        IamRole::Writer if shares => never.extend(CHANGES),
        IamRole::Writer | IamRole::Auditor => never.extend(CHANGES.into_iter().chain(SHARING)),
        IamRole::Restorer | IamRole::Retention => never.extend(SHARING),
        IamRole::BreakGlass => {
            never.extend(SHARING.into_iter().chain(["rds:DeleteDBInstance", "rds:DeleteDBCluster"]))
        }
    }
    builder.document.deny("DenyDestroyingBackups", &never, everything());
    if matches!(role, IamRole::Restorer | IamRole::Retention) {
        let databases = std::mem::take(&mut builder.production);
        let actions: Vec<&str> = CHANGES.into_iter().chain(["rds:RebootDB*", "rds:StopDB*"]).collect();
        builder.document.deny("DenyChangingProtectedDatabase", &actions, databases);
    }
}
