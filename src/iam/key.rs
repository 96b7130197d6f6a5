use super::Conditions;
use super::builder::Builder;
use super::role::partition;
use super::{Account, IamError};

/// What RDS does with a key in the caller's name to make, copy and restore a snapshot.
const RDS_ACTIONS: [&str; 7] = [
    "kms:DescribeKey",
    "kms:Decrypt",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
];

/// A KMS key as a policy names it, and what a statement needs to mean just it.
struct KmsKeyArn {
    resource: String,
    /// IAM knows keys by their ids: an alias is a condition on them.
    condition: Conditions,
}

/// A key by its ARN, its id, or its alias (`alias/…`).
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

/// A key of a bucket, used by S3 only.
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

/// A key of a region, used by RDS only. `None`: the database's own, which the policy does not name.
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

/// What a key is, asked of KMS itself. `None`: the database's own, which the policy does not name.
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
