use super::builder::Builder;
use super::role::{Account, IamRole, partition};
use super::{Conditions, IamError};
use crate::aws::{MANAGED, SYSTEM};
use crate::policy::AwsBackupSource;

/// Adds rights on the vaults and recovery points of a resource that AWS Backup protects.
pub(super) fn add(builder: &mut Builder<'_>, source: &AwsBackupSource) -> Result<(), IamError> {
    if source.place.endpoint.is_some() || builder.role == IamRole::BreakGlass {
        return Ok(());
    }
    let own = Account::of_credentials(&source.place.credentials);
    let account = builder.account_or(own.as_ref(), "a backup vault")?;
    let home = source.place.region.as_str();
    let vault = |region: &str, name: &str| {
        format!("arn:{}:backup:{region}:{}:backup-vault:{name}", partition(region), account.as_str())
    };
    let own = vault(home, &source.vault);
    let copies: Vec<_> = source.copies.iter().map(|copy| vault(&copy.region, &copy.vault)).collect();
    let regions: Vec<&str> =
        std::iter::once(home).chain(source.copies.iter().map(|copy| copy.region.as_str())).collect();
    let points: Vec<String> =
        regions.iter().flat_map(|region| recovery_points(&source.resource, region, &account)).collect();
    let vaults: Vec<_> = [own.clone()].into_iter().chain(copies.iter().cloned()).collect();
    let plain = Conditions::default;

    let mut look = vec!["backup:DescribeBackupVault", "backup:ListRecoveryPointsByBackupVault"];
    if builder.role != IamRole::Retention {
        look.push("backup:GetBackupVaultAccessPolicy");
    }
    builder.document.allow("ListVaults", &look, vaults, plain());
    let read = ["backup:DescribeRecoveryPoint", "backup:ListTags"];
    builder.document.allow("DescribeRecoveryPoints", &read, points.clone(), plain());
    // AWS Backup does not report the tags of RDS snapshots.
    let snapshots: Vec<String> =
        points.iter().filter(|arn| arn.split(':').nth(2) == Some("rds")).cloned().collect();
    let read = ["rds:ListTagsForResource"];
    builder.document.allow("ReadTagsOfBackupSnapshots", &read, snapshots.clone(), plain());
    let system = builder.policy.system.to_string();
    let ours = Conditions::when("StringEquals", format!("aws:ResourceTag/{MANAGED}"), &["true"]).and(
        "StringEquals",
        format!("aws:ResourceTag/{SYSTEM}"),
        &[&system],
    );
    let pass = Conditions::when("StringEquals", "iam:PassedToService", &["backup.amazonaws.com"]);
    match builder.role {
        IamRole::Writer => {
            builder.document.allow("TakeRecoveryPoints", &["backup:StartBackupJob"], [own], plain());
            builder.document.allow("TagRecoveryPoints", &["backup:TagResource"], points.clone(), plain());
            let tag = ["rds:AddTagsToResource"];
            builder.document.allow("TagBackupSnapshots", &tag, snapshots, plain());
            // Recorded with the backup, in case the region cannot be queried.
            let read = ["backup:GetRecoveryPointRestoreMetadata"];
            builder.document.allow("ReadRestoreMetadata", &read, points.clone(), plain());
            if !copies.is_empty() {
                builder.document.allow("CopyRecoveryPoints", &["backup:StartCopyJob"], points, plain());
                builder.document.allow("CopyIntoVaults", &["backup:CopyIntoBackupVault"], copies, plain());
            }
            // An ARN does not show whether a cluster is one that drctl restores.
            if source.resource.contains(":rds:") && source.resource.contains(":cluster:") {
                let look = ["rds:DescribeDBClusters"];
                builder.document.allow("DescribeCluster", &look, [source.resource.clone()], plain());
            }
            builder.document.allow("PassBackupRole", &["iam:PassRole"], [source.role.clone()], pass);
            builder.document.anywhere(&[
                "backup:DescribeBackupJob",
                "backup:DescribeCopyJob",
                "backup:ListBackupJobs",
                "backup:ListCopyJobs",
            ]);
        }
        IamRole::Restorer => {
            let start = ["backup:GetRecoveryPointRestoreMetadata", "backup:StartRestoreJob"];
            builder.document.allow("RestoreRecoveryPoints", &start, points, plain());
            // An earlier restore may have been deleted, which AWS Backup does not report.
            if !snapshots.is_empty() {
                let databases = |kind: &'static str| {
                    let account = account.as_str();
                    regions.iter().map(move |region| {
                        format!("arn:{}:rds:{region}:{account}:{kind}:*", partition(region))
                    })
                };
                let look = ["rds:DescribeDBInstances", "rds:DescribeDBClusters"];
                let databases = databases("db").chain(databases("cluster"));
                builder.document.allow("DescribeRestoredDatabases", &look, databases, plain());
            }
            builder.document.allow("PassBackupRole", &["iam:PassRole"], [source.role.clone()], pass);
            builder.document.anywhere(&[
                "backup:DescribeRestoreJob",
                "backup:GetRestoreJobMetadata",
                "backup:ListRestoreJobs",
                "backup:PutRestoreValidationResult",
            ]);
        }
        IamRole::Retention => {
            let delete = ["backup:DeleteRecoveryPoint"];
            let own = points.into_iter().filter(|arn| !arn.contains(":recovery-point:continuous:"));
            builder.document.allow("DeleteTaggedRecoveryPoints", &delete, own, ours);
            // Deleting one stops the continuous backups of its resource.
            let continuous = regions.iter().map(|region| {
                let (partition, account) = (partition(region), account.as_str());
                format!("arn:{partition}:backup:{region}:{account}:recovery-point:continuous:*")
            });
            builder.document.deny("DenyDeletingContinuous", &delete, continuous);
            // What a job reads stays.
            builder.document.anywhere(&["backup:ListCopyJobs", "backup:ListRestoreJobs"]);
        }
        IamRole::Auditor => builder.document.anywhere(&[
            "backup:DescribeBackupJob",
            "backup:DescribeCopyJob",
            "backup:DescribeRestoreJob",
            "backup:ListBackupJobs",
            "backup:ListCopyJobs",
            "backup:ListRestoreJobs",
        ]),
        IamRole::BreakGlass => {}
    }
    if source.plan.is_some() && matches!(builder.role, IamRole::Writer | IamRole::Auditor) {
        let plan = format!("arn:{}:backup:{home}:{}:backup-plan:*", partition(home), account.as_str());
        // The plan names the vaults that it writes to, and may be changed.
        let list = ["backup:ListRecoveryPointsByBackupVault"];
        builder.document.allow("ListRecoveryPointsOfPlan", &list, [vault(home, "*")], plain());
        let read = ["backup:GetBackupPlan", "backup:GetBackupSelection", "backup:ListBackupSelections"];
        builder.document.allow("ReadPlan", &read, [plan], plain());
        builder.document.anywhere(&["backup:ListBackupPlans"]);
    }
    Ok(())
}

/// Returns the ARNs of recovery points. Those of some services are resources of that service, with names by
/// AWS Backup; continuous ones of databases, and those of tables with AWS Backup's advanced features, belong
/// to AWS Backup.
fn recovery_points(resource: &str, region: &str, account: &Account) -> Vec<String> {
    let (partition, account) = (partition(region), account.as_str());
    let own = |name: &str| format!("arn:{partition}:backup:{region}:{account}:recovery-point:{name}");
    let parts: Vec<_> = resource.splitn(6, ':').collect();
    let [service, name] = [2, 5].map(|at| parts.get(at).copied().unwrap_or_default());
    match service {
        "rds" => ["snapshot", "cluster-snapshot"]
            .map(|kind| format!("arn:{partition}:rds:{region}:{account}:{kind}:awsbackup:*"))
            .into_iter()
            .chain([own("continuous:*")])
            .collect(),
        // A volume's is a snapshot; an instance's is an image, with a snapshot of each volume.
        "ec2" => {
            ["snapshot/*", "image/*"].map(|name| format!("arn:{partition}:ec2:{region}::{name}")).to_vec()
        }
        // A gateway volume is stored as an EBS snapshot.
        "storagegateway" => vec![format!("arn:{partition}:ec2:{region}::snapshot/*")],
        "fsx" => vec![format!("arn:{partition}:fsx:{region}:{account}:backup/*")],
        "redshift" => vec![format!("arn:{partition}:redshift:{region}:{account}:snapshot:*/awsbackup:*")],
        "redshift-serverless" => {
            vec![format!("arn:{partition}:redshift-serverless:{region}:{account}:snapshot/*"), own("*")]
        }
        "dynamodb" => {
            vec![format!("arn:{partition}:dynamodb:{region}:{account}:{name}/backup/*"), own("*")]
        }
        _ => vec![own("*")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_points_are_named_as_the_service_that_keeps_them_names_them() {
        let account: Account = "123456789012".parse().unwrap();
        let of = |resource: &str| recovery_points(resource, "us-west-2", &account);
        assert_eq!(
            of("arn:aws:rds:us-east-1:123456789012:db:shop"),
            [
                "arn:aws:rds:us-west-2:123456789012:snapshot:awsbackup:*",
                "arn:aws:rds:us-west-2:123456789012:cluster-snapshot:awsbackup:*",
                "arn:aws:backup:us-west-2:123456789012:recovery-point:continuous:*",
            ]
        );
        assert_eq!(
            of("arn:aws:dynamodb:us-east-1:123456789012:table/orders"),
            [
                "arn:aws:dynamodb:us-west-2:123456789012:table/orders/backup/*",
                "arn:aws:backup:us-west-2:123456789012:recovery-point:*",
            ]
        );
        for (resource, points) in [
            (
                "arn:aws:ec2:us-east-1:123456789012:volume/vol-1",
                &["ec2:us-west-2::snapshot/*", "ec2:us-west-2::image/*"][..],
            ),
            (
                "arn:aws:ec2:us-east-1:123456789012:instance/i-1",
                &["ec2:us-west-2::snapshot/*", "ec2:us-west-2::image/*"],
            ),
            (
                "arn:aws:storagegateway:us-east-1:123456789012:gateway/sgw-1/volume/vol-1",
                &["ec2:us-west-2::snapshot/*"],
            ),
            ("arn:aws:fsx:us-east-1:123456789012:file-system/fs-1", &["fsx:us-west-2:123456789012:backup/*"]),
            (
                "arn:aws:fsx:us-east-1:123456789012:volume/fs-1/fsvol-1",
                &["fsx:us-west-2:123456789012:backup/*"],
            ),
            (
                "arn:aws:redshift:us-east-1:123456789012:cluster:shop",
                &["redshift:us-west-2:123456789012:snapshot:*/awsbackup:*"],
            ),
            // DocumentDB and Neptune clusters have ARNs of RDS, and so do their snapshots.
            (
                "arn:aws:rds:us-east-1:123456789012:cluster:docs",
                &[
                    "rds:us-west-2:123456789012:snapshot:awsbackup:*",
                    "rds:us-west-2:123456789012:cluster-snapshot:awsbackup:*",
                    "backup:us-west-2:123456789012:recovery-point:continuous:*",
                ],
            ),
            (
                "arn:aws:backup-gateway:us-east-1:123456789012:vm/vm-1",
                &["backup:us-west-2:123456789012:recovery-point:*"],
            ),
            (
                "arn:aws:timestream:us-east-1:123456789012:database/a/table/b",
                &["backup:us-west-2:123456789012:recovery-point:*"],
            ),
            (
                "arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/fs-1",
                &["backup:us-west-2:123456789012:recovery-point:*"],
            ),
        ] {
            let points: Vec<_> = points.iter().map(|point| format!("arn:aws:{point}")).collect();
            assert_eq!(of(resource), points, "{resource}");
        }
        assert_eq!(of("arn:aws:s3:::shop"), ["arn:aws:backup:us-west-2:123456789012:recovery-point:*"]);
    }
}
