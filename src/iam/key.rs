use super::Conditions;
use super::builder::Builder;
use super::role::partition;
use super::{Account, IamError};

/// The actions of RDS on a key with the caller's rights, to create, copy and restore a snapshot.
const RDS_ACTIONS: [&str; 7] = [
    "kms:DescribeKey",
    "kms:Decrypt",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
];

/// A KMS key as a policy names it, and the condition that limits a statement to it.
struct KmsKeyArn {
    resource: String,
    /// IAM identifies keys by their IDs: an alias becomes a condition.
    condition: Conditions,
}

/// Resolves a key given by its ARN, ID or alias (`alias/…`).
fn key(
    builder: &Builder<'_>,
    named: &str,
    region: &str,
    account: Option<&Account>,
) -> Result<KmsKeyArn, IamError> {
    let (head, word) = match named.rsplit_once(':') {
        Some((head, word)) => (Some(head.to_owned()), word),
        None => (None, named),
    };
    let head = match head {
        Some(head) => head,
        None => {
            let account = builder.account_or(account, "a KMS key")?;
            format!("arn:{}:kms:{region}:{}", partition(region), account.as_str())
        }
    };
    Ok(match word.starts_with("alias/") {
        true => KmsKeyArn {
            resource: format!("{head}:key/*"),
            condition: Conditions::when("ForAnyValue:StringEquals", "kms:ResourceAliases", &[word]),
        },
        false => KmsKeyArn {
            resource: format!("{head}:key/{}", word.trim_start_matches("key/")),
            condition: Conditions::default(),
        },
    })
}

/// Allows the use of a bucket's key through S3 only.
pub(super) fn of_bucket(
    builder: &mut Builder<'_>,
    named: &str,
    region: &str,
    account: Option<&Account>,
    actions: &[&str],
) -> Result<(), IamError> {
    let key = key(builder, named, region, account)?;
    let via = format!("s3.{region}.{}", suffix(region));
    let condition = key.condition.and("StringEquals", "kms:ViaService", &[&via]);
    builder.document.allow("UseTheKeyOfTheBucketThroughS3Only", actions, [key.resource], condition);
    Ok(())
}

/// Allows the use of a region's key through RDS only. `None`: the database's own key, which the policy does
/// not name.
pub(super) fn of_rds(
    builder: &mut Builder<'_>,
    named: Option<&str>,
    region: &str,
    account: &Account,
) -> Result<(), IamError> {
    let key = match named {
        Some(named) => key(builder, named, region, Some(account))?,
        None => KmsKeyArn {
            resource: format!("arn:{}:kms:{region}:{}:key/*", partition(region), account.as_str()),
            condition: Conditions::default(),
        },
    };
    let via = format!("rds.{region}.{}", suffix(region));
    let condition = key.condition.and("StringEquals", "kms:ViaService", &[&via]);
    builder.document.allow(
        "UseSnapshotKeysThroughRds",
        &RDS_ACTIONS,
        [key.resource.clone()],
        condition.clone(),
    );
    let condition = condition.and("Bool", "kms:GrantIsForAWSResource", &["true"]);
    builder.document.allow("GrantKeysToRds", &["kms:CreateGrant"], [key.resource], condition);
    Ok(())
}

/// Allows describing a key in KMS. `None`: the database's own key, which the policy does not name.
pub(super) fn look(
    builder: &mut Builder<'_>,
    named: Option<&str>,
    region: &str,
    account: &Account,
) -> Result<(), IamError> {
    let key = match named {
        Some(named) => key(builder, named, region, Some(account))?,
        None => KmsKeyArn {
            resource: format!("arn:{}:kms:{region}:{}:key/*", partition(region), account.as_str()),
            condition: Conditions::default(),
        },
    };
    builder.document.allow("DescribeKeys", &["kms:DescribeKey"], [key.resource], key.condition);
    Ok(())
}

fn suffix(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}
