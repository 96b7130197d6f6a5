use super::builder::{Builder, IamError};
use super::role::{Account, IamRole, account};
use super::{Conditions, IamDocument, aws_backup, bucket, explicit_deny, rds, secret};
use crate::policy::{Policy, SourceConfig};

/// Returns the IAM policy document of a role. `given`: the account if the policy does not name it.
pub fn document(policy: &Policy, role: IamRole, given: Option<&Account>) -> Result<IamDocument, IamError> {
    let account = given.cloned().or_else(|| account(policy));
    let mut builder =
        Builder { policy, role, document: IamDocument::default(), account, production: Vec::new() };
    bucket::add(&mut builder)?;
    let mut shares = false;
    for source in &policy.sources {
        match &source.config {
            SourceConfig::Rds(rds) => {
                shares |= !rds.share_with.is_empty();
                rds::add(&mut builder, rds)?;
            }
            SourceConfig::AwsBackup(backup) => aws_backup::add(&mut builder, backup)?,
            SourceConfig::Bucket(source) => bucket::of_source(&mut builder, source),
            _ => {}
        }
    }
    secret::add(&mut builder)?;
    if role == IamRole::Writer {
        // `doctor` queries IAM for the rights of its role.
        let roles = super::role::roles(policy);
        builder.document.allow(
            "SimulateOwnPolicy",
            &["iam:SimulatePrincipalPolicy"],
            roles,
            Conditions::default(),
        );
    }
    if builder.document.is_empty() {
        return Err(IamError::NothingInAws { role });
    }
    explicit_deny::deny(&mut builder, shares);
    Ok(builder.document)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::iam::{Effect, IamStatement};
    use crate::policy::{load, parse};

    /// Matches as IAM does: `*` is any characters, `?` one.
    fn matches(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|skipped| matches(rest, &text[skipped..])),
            ([b'?', rest @ ..], [_, text @ ..]) => matches(rest, text),
            ([one, rest @ ..], [other, text @ ..]) => one == other && matches(rest, text),
            _ => false,
        }
    }

    fn names(patterns: &[String], text: &str) -> bool {
        patterns.iter().any(|pattern| matches(pattern.as_bytes(), text.as_bytes()))
    }

    /// Returns every policy that comes with drctl, and one for each combination of what changes the
    /// documents.
    fn policies() -> Vec<Policy> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut policies: Vec<Policy> = files
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
            .map(|path| load(&path).unwrap())
            .collect();
        assert!(policies.len() >= 6);
        for bits in 0..256_u32 {
            let on = |bit: u32, text: &'static str| if bits & (1 << bit) == 0 { "" } else { text };
            let text = format!(
                r#"
[system]
name = "shop"
[objectives]
rto = "4h"
rpo = "1h"
[repository.primary]
url = "s3://shop-backups{prefix}"
region = "us-east-1"
{lock}
{kms}
{checksum}
[encryption]
danger_unencrypted = true
[sources.database]
kind = "postgres"
url = "postgres://drctl@localhost/shop"
password = "secretsmanager:shop/db#password"
{wal}
[sources.instance]
kind = "rds"
region = "us-east-1"
{which} = "shop"
{share}
{copies}
{token}
[sources.files]
kind = "aws-backup"
resource = "arn:aws:elasticfilesystem:us-east-1:111122223333:file-system/fs-1"
vault = "shop"
role = "arn:aws:iam::111122223333:role/aws-backup"
plan = "shop"
copy_to = {{ us-west-2 = {{ vault = "shop-dr" }} }}
"#,
                prefix = on(0, "/drctl"),
                lock = on(1, "object_lock = { mode = \"governance\", retain = \"35d\" }"),
                kms = on(2, "server_side_encryption = \"aws:kms\"\nkms_key = \"alias/shop\""),
                checksum = on(3, "checksum = \"sha256\""),
                wal = on(3, "methods = [\"base\", \"wal\"]"),
                which = if bits & 16 == 0 { "instance" } else { "cluster" },
                token = on(
                    7,
                    "methods = [\"snapshot\", \"logical\"]\nauthentication = \"iam\"\nurl = \"postgres://drctl@shop.x.us-east-1.rds.amazonaws.com/shop?sslmode=verify-full\""
                ),
                share = on(5, "share_with = [\"444455556666\"]"),
                copies = on(
                    6,
                    "copy_to = { us-west-2 = { kms_key = \"alias/shop-dr\", automated_backups = true } }"
                ),
            );
            policies.push(parse(Path::new("shop.toml"), &text).unwrap_or_else(|faults| panic!("{faults}")));
        }
        policies
    }

    fn each(mut judge: impl FnMut(&Policy, IamRole, &[IamStatement])) {
        let account = "111122223333".parse().unwrap();
        let mut seen = 0;
        for policy in policies() {
            for role in IamRole::ALL {
                match document(&policy, role, Some(&account)) {
                    Ok(document) => {
                        seen += 1;
                        judge(&policy, role, document.statements());
                    }
                    Err(error) => assert_eq!(error, IamError::NothingInAws { role }),
                }
            }
        }
        assert!(seen > 600, "only {seen} documents were judged");
    }

    fn allowed(statements: &[IamStatement]) -> impl Iterator<Item = (&IamStatement, &str)> {
        let allowed = statements.iter().filter(|statement| statement.effect == Effect::Allow);
        allowed.flat_map(|statement| statement.action.iter().map(move |action| (statement, action.as_str())))
    }

    #[test]
    fn who_writes_backups_can_neither_delete_nor_change_one_nor_read_its_data() {
        each(|policy, role, statements| {
            if !matches!(role, IamRole::Writer | IamRole::Auditor) {
                return;
            }
            for (_, action) in allowed(statements) {
                let (_, verb) = action.split_once(':').unwrap();
                let words = ["Delete", "Bypass", "Stop", "Disassociate", "Restore", "Reboot", "Schedule"];
                assert!(!words.iter().any(|word| verb.starts_with(word)), "{role} may {action}");
                let shares = policy
                    .sources
                    .iter()
                    .any(|source| source.rds().is_some_and(|rds| !rds.share_with.is_empty()));
                let shares = shares && verb.ends_with("SnapshotAttribute") && role == IamRole::Writer;
                assert!(shares || !verb.starts_with("Modify"), "{role} may {action}");
            }
        });
    }

    #[test]
    fn the_source_of_a_bucket_is_read_by_the_writer_and_written_by_no_role() {
        let text = r#"
[system]
name = "shop"
[objectives]
rto = "4h"
rpo = "1h"
[repository.primary]
url = "s3://shop-backups"
region = "us-east-1"
[encryption]
danger_unencrypted = true
[sources.media]
kind = "bucket"
url = "s3://shop-media/live"
region = "us-east-1"
"#;
        let policy = parse(Path::new("policy.toml"), text).unwrap();
        for role in IamRole::ALL {
            let Ok(document) = document(&policy, role, None) else { continue };
            let of_source = |statement: &&(&IamStatement, &str)| {
                names(&statement.0.resource, "arn:aws:s3:::shop-media/live/a/b")
                    || names(&statement.0.resource, "arn:aws:s3:::shop-media")
            };
            let all: Vec<_> = allowed(document.statements()).collect();
            let actions: Vec<&str> = all.iter().filter(of_source).map(|(_, action)| *action).collect();
            let expected: &[&str] = match role {
                IamRole::Writer => &[
                    "s3:GetBucketVersioning",
                    "s3:ListBucket",
                    "s3:ListBucketVersions",
                    "s3:GetObject",
                    "s3:GetObjectVersion",
                ],
                _ => &[],
            };
            assert_eq!(actions, expected, "{role}");
            assert!(
                !all.iter().any(|(statement, _)| names(&statement.resource, "arn:aws:s3:::shop-media/other"))
            );
        }
    }

    #[test]
    fn who_deletes_backups_cannot_read_one_and_who_writes_them_reads_only_what_it_must() {
        let payload = |bucket: &str, prefix: &str, system: &str| {
            let at = format!("arn:aws:s3:::{bucket}/{prefix}{system}/database/");
            let backup = "backups/20261120T220251Z-database-logical-7f3k";
            [
                format!("{at}{backup}/database.dump.zst.age"),
                format!("{at}{backup}/details.json.zst.age"),
                format!("{at}{backup}/database.dump.zst.age.001"),
                format!("{at}wal/7309218376458293/00000001/000000010000000000000002.zst.age"),
            ]
        };
        each(|policy, role, statements| {
            for repository in &policy.repositories {
                let crate::policy::RepositoryLocation::S3(place) = &repository.place else { continue };
                let prefix =
                    if place.prefix.is_empty() { String::new() } else { format!("{}/", place.prefix) };
                let payload = payload(&place.bucket, &prefix, policy.system.as_str());
                for (statement, action) in allowed(statements) {
                    let reads = action.starts_with("s3:GetObject")
                        && !matches!(action, "s3:GetObjectRetention" | "s3:GetObjectLegalHold");
                    let what: Vec<_> =
                        payload.iter().filter(|key| reads && names(&statement.resource, key)).collect();
                    match role {
                        IamRole::Retention | IamRole::BreakGlass => {
                            assert!(what.is_empty(), "{role}: {what:?}")
                        }
                        IamRole::Writer if place.checksum == crate::policy::Checksum::Crc64Nvme => {
                            let data = what.iter().any(|key| key.contains("/backups/"));
                            assert!(!data, "{what:?}");
                        }
                        IamRole::Writer | IamRole::Restorer | IamRole::Auditor => {}
                    }
                }
            }
        });
    }

    #[test]
    fn nothing_is_allowed_on_everything_but_what_only_reads_and_aws_takes_no_resource_for() {
        each(|_, role, statements| {
            for (statement, action) in allowed(statements) {
                if !statement.resource.iter().any(|resource| resource == "*") {
                    continue;
                }
                let (_, verb) = action.split_once(':').unwrap();
                assert_eq!(statement.sid, "ListAndDescribe");
                let reads = ["Describe", "List", "Get"].iter().any(|word| verb.starts_with(word));
                // A job has no ARN to name.
                assert!(reads || action == "backup:PutRestoreValidationResult", "{role} may {action} on all");
            }
        });
    }

    #[test]
    fn statements_have_names_and_no_role_is_given_what_it_is_denied() {
        each(|_, role, statements| {
            let sids: BTreeSet<_> = statements.iter().map(|statement| &statement.sid).collect();
            assert_eq!(sids.len(), statements.len());
            assert!(sids.iter().all(|sid| sid.bytes().all(|b| b.is_ascii_alphanumeric())));
            let everywhere =
                |statement: &&IamStatement| statement.effect == Effect::Deny && statement.resource == ["*"];
            for (_, action) in allowed(statements) {
                let denied = statements.iter().filter(everywhere).any(|denial| names(&denial.action, action));
                assert!(!denied, "{role} is given {action} and denied it");
            }
        });
    }

    #[test]
    fn who_removes_what_aws_keeps_removes_only_what_carries_the_systems_tags() {
        let mut judged = 0;
        each(|policy, role, statements| {
            let deletes = |action: &str| {
                action == "backup:DeleteRecoveryPoint"
                    || action.starts_with("rds:Delete") && action.ends_with("Snapshot")
            };
            for (statement, action) in allowed(statements).filter(|(_, action)| deletes(action)) {
                assert_eq!(role, IamRole::Retention, "{action}");
                let tags: Vec<_> = statement.condition.iter().collect();
                let has = |key: &str, value: &str| {
                    tags.iter().any(|(_, known, values)| *known == key && *values == [value])
                };
                assert!(has("aws:ResourceTag/drctl:managed", "true"), "{action}");
                assert!(has("aws:ResourceTag/drctl:system", policy.system.as_str()), "{action}");
                judged += 1;
            }
            if role == IamRole::Retention {
                let continuous = "arn:aws:backup:us-east-1:111122223333:recovery-point:continuous:db-1";
                let denied = statements.iter().filter(|statement| {
                    statement.effect == Effect::Deny && names(&statement.resource, continuous)
                });
                let denied = denied.flat_map(|statement| &statement.action).collect::<Vec<_>>();
                let is_denied = denied.iter().any(|action| *action == "backup:DeleteRecoveryPoint");
                let may = allowed(statements).any(|(statement, action)| {
                    action == "backup:DeleteRecoveryPoint" && names(&statement.resource, continuous)
                });
                assert!(!may || is_denied);
            }
        });
        assert!(judged > 200, "{judged}");
    }

    #[test]
    fn what_removes_backups_of_each_reference_policy_fits_one_managed_policy() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        let account = "111122223333".parse().unwrap();
        for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let policy = load(&file).unwrap();
            if let Ok(document) = document(&policy, IamRole::Retention, Some(&account)) {
                let characters = document.characters();
                assert!(characters <= crate::iam::MANAGED_LIMIT, "{}: {characters}", file.display());
            }
        }
    }

    /// Tags alone are no protection: a role that may tag anything could then delete anything.
    #[test]
    fn a_restorer_tags_and_removes_nothing_but_what_has_the_names_it_gives() {
        let foreign = ["billing", "shop", "shopping"]
            .map(|name| format!("arn:aws:rds:us-east-1:111122223333:db:{name}"));
        each(|policy, role, statements| {
            if role != IamRole::Restorer || policy.system.as_str() != "shop" {
                return;
            }
            for (statement, action) in allowed(statements) {
                let changes =
                    ["rds:AddTags", "rds:Delete", "rds:Reboot"].iter().any(|word| action.starts_with(word));
                let hit: Vec<_> =
                    foreign.iter().filter(|arn| changes && names(&statement.resource, arn)).collect();
                assert!(hit.is_empty(), "{action} on {hit:?}");
            }
        });
    }

    #[test]
    fn who_logs_in_to_what_was_restored_may_read_the_password_that_the_policy_names() {
        let text = r#"
[system]
name = "shop"
[objectives]
rto = "4h"
rpo = "1h"
[repository.primary]
directory = "/var/backups/shop"
[encryption]
danger_unencrypted = true
[sources.instance]
kind = "rds"
region = "us-east-1"
instance = "shop"
url = "postgres://app@shop.x.us-east-1.rds.amazonaws.com/shop"
password = "secretsmanager:shop/app#password"
"#;
        let policy = parse(Path::new("shop.toml"), text).unwrap_or_else(|faults| panic!("{faults}"));
        let account = "111122223333".parse().unwrap();
        let secret = "arn:aws:secretsmanager:us-east-1:111122223333:secret:shop/app-AbCdEf";
        for role in IamRole::ALL {
            let document = document(&policy, role, Some(&account)).unwrap();
            let may = allowed(document.statements()).any(|(statement, action)| {
                action == "secretsmanager:GetSecretValue" && names(&statement.resource, secret)
            });
            let logs_in = matches!(role, IamRole::Writer | IamRole::Restorer | IamRole::BreakGlass);
            assert_eq!(may, logs_in, "{role}");
            // RDS recreates a managed master password for a restored database.
            let new = "arn:aws:secretsmanager:us-east-1:111122223333:secret:rds!db-0a1b-AbCdEf";
            let may = allowed(document.statements()).any(|(statement, action)| {
                action == "secretsmanager:GetSecretValue" && names(&statement.resource, new)
            });
            assert_eq!(may, matches!(role, IamRole::Restorer | IamRole::BreakGlass), "{role}");
            // A restorer configures monitoring as before, and passes no role to anything else.
            let passes = document.statements().iter().find(|s| s.action.contains(&"iam:PassRole".to_owned()));
            assert_eq!(passes.is_some(), role == IamRole::Restorer, "{role}");
            let to: Vec<_> = passes.iter().flat_map(|statement| statement.condition.iter()).collect();
            assert!(
                to.iter()
                    .all(|(_, key, to)| *key == "iam:PassedToService"
                        && *to == ["monitoring.rds.amazonaws.com"])
            );
            assert_eq!(to.len(), usize::from(passes.is_some()), "{role}");
        }
    }

    #[test]
    fn an_account_is_taken_from_the_policy_or_asked_for_and_never_guessed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        let [known, unknown] =
            ["classboard", "insightshop"].map(|name| load(&folder.join(format!("{name}.toml"))).unwrap());
        let text = serde_json::to_string(&document(&known, IamRole::Writer, None).unwrap()).unwrap();
        assert!(text.contains("arn:aws:rds:us-east-1:123456789012:db:classboard"));
        let refused = document(&unknown, IamRole::Writer, None).unwrap_err();
        assert!(matches!(refused, IamError::NoAccount { several: false, .. }), "{refused}");
    }
}
