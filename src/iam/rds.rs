use super::builder::Builder;
use super::role::{Account, IamRole, partition};
use super::{Conditions, IamError, key};
use crate::aws::{EXPIRES, MANAGED, SYSTEM};
use crate::platform::SecretRef;
use crate::policy::{PasswordSource, RdsDatabase, RdsSource};
use crate::postgres::ConnectionParameters;
use crate::source::rds_snapshot::identifier_prefixes;

/// Adds rights on one database, its snapshots and what is restored from them.
///
/// Describing covers every snapshot, group and automated backup of the account, since it discovers which
/// exist. Creation and changes are limited by identifier or tags.
///
/// Restored databases are named `drctl-…` or begin with the database's own name; in another region they may
/// have the name itself. AWS cannot limit tagging to a resource being created, so without that bound a
/// restorer could put drctl's tags on any database, and then delete it.
pub(super) fn add(builder: &mut Builder<'_>, source: &RdsSource) -> Result<(), IamError> {
    if source.place.endpoint.is_some() {
        return Ok(());
    }
    let own = Account::of_credentials(&source.place.credentials);
    let account = builder.account_or(own.as_ref(), "an RDS database")?;
    let home = source.place.region.as_str();
    let regions: Vec<&str> =
        std::iter::once(home).chain(source.regions.iter().map(|region| region.name.as_str())).collect();
    let names = Names::for_source(source);
    let prefixes = identifier_prefixes(&source.database, &builder.policy.system);
    let arn = |region: &str, kind: &str, name: &str| {
        format!("arn:{}:rds:{region}:{}:{kind}:{name}", partition(region), account.as_str())
    };
    let everywhere = |kind: &str, name: &str| -> Vec<String> {
        regions.iter().map(|region| arn(region, kind, name)).collect()
    };
    let database = arn(home, names.database, names.identifier);
    let snapshots_in = |region: &&str| -> Vec<String> {
        prefixes.iter().map(|prefix| arn(region, names.snapshot, &format!("{prefix}*"))).collect()
    };
    let own_snapshots = snapshots_in(&home);
    let snapshots: Vec<String> = regions.iter().flat_map(snapshots_in).collect();
    builder.production.push(database.clone());

    describe(builder, &names, &everywhere);
    log_in(builder, source, &account);
    let system = builder.policy.system.to_string();
    let asks = Conditions::when("StringEquals", format!("aws:RequestTag/{MANAGED}"), &["true"]).and(
        "StringEquals",
        format!("aws:RequestTag/{SYSTEM}"),
        &[&system],
    );
    let is_ours = Conditions::when("StringEquals", format!("aws:ResourceTag/{MANAGED}"), &["true"]).and(
        "StringEquals",
        format!("aws:ResourceTag/{SYSTEM}"),
        &[&system],
    );
    let expires = is_ours.clone().and("Null", format!("aws:ResourceTag/{EXPIRES}"), &["false"]);
    match builder.role {
        IamRole::Writer if !source.snapshots => {}
        IamRole::Writer => {
            let create = [database].into_iter().chain(own_snapshots.iter().cloned());
            builder.document.allow("TakeTaggedSnapshots", &[names.create], create, asks.clone());
            if !source.regions.is_empty() {
                builder.document.allow(
                    "CopySnapshots",
                    &[names.copy],
                    snapshots.clone(),
                    Conditions::default(),
                );
            }
            builder.document.allow(
                "TagSnapshots",
                &["rds:AddTagsToResource"],
                snapshots.clone(),
                Conditions::default(),
            );
            if !source.share_with.is_empty() {
                builder.document.allow(
                    "ShareSnapshots",
                    &[names.share],
                    own_snapshots,
                    Conditions::default(),
                );
                // A snapshot encrypted with an AWS-managed key cannot be shared.
                key::look(builder, None, home, &account)?;
            }
            if !source.regions.is_empty() {
                keys(builder, source, &account)?;
            }
        }
        IamRole::Restorer => {
            let targets = |kind: &str| -> Vec<String> {
                let of = |region: &&str| {
                    let names = restored_names(source, region).into_iter();
                    names.map(|name| arn(region, kind, &name)).collect::<Vec<_>>()
                };
                regions.iter().flat_map(of).collect()
            };
            let groups: Vec<String> =
                [names.parameters, "og"].iter().flat_map(|kind| everywhere(kind, "*")).collect();
            let mut made = targets(names.database);
            let mut used = [snapshots.clone(), groups.clone(), made.clone()].concat();
            used.push(database);
            used.extend([names.automated, "subgrp"].iter().flat_map(|kind| everywhere(kind, "*")));
            builder.document.allow("RestoreIntoTaggedDatabases", &names.restore, used, asks.clone());
            if !names.members.is_empty() {
                let of_members = ["pg", "subgrp"].iter().flat_map(|kind| everywhere(kind, "*"));
                let used = targets("db").into_iter().chain(made.clone()).chain(of_members);
                builder.document.allow("CreateClusterInstances", &names.members, used, asks.clone());
                made.extend(targets("db"));
            }
            builder.document.allow(
                "TagCreatedDatabases",
                &["rds:AddTagsToResource"],
                made.clone(),
                asks.clone(),
            );
            let change = [names.change, &["rds:AddTagsToResource"]].concat();
            builder.document.allow("ModifyCreatedDatabases", &change, made.clone(), is_ours.clone());
            builder.document.allow("UseParameterGroups", names.modify, groups, Conditions::default());
            builder.document.allow("DeleteExpiredTemporary", names.delete, made, expires);
            // A parameter group is recreated in regions that lack it, never in that of the original.
            let away = |kind: &&str| regions.iter().skip(1).map(|region| arn(region, kind, "*")).collect();
            let away: Vec<Vec<String>> = names.groups.iter().map(away).collect();
            let make = [names.make_groups, &["rds:AddTagsToResource"]].concat();
            builder.document.allow("CreateTaggedParameterGroups", &make, away.concat(), asks);
            builder.document.allow("SetParametersOfCreatedGroups", names.set_groups, away.concat(), is_ours);
            builder.document.anywhere(&[
                "ec2:DescribeAvailabilityZones",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSubnets",
                "ec2:DescribeVpcAttribute",
                "ec2:DescribeVpcs",
            ]);
            let secrets = regions.iter().map(|region| {
                format!("arn:{}:secretsmanager:{region}:{}:secret:rds!*", partition(region), account.as_str())
            });
            let secret = ["secretsmanager:CreateSecret", "secretsmanager:TagResource"];
            builder.document.allow("LetRdsManageThePassword", &secret, secrets, Conditions::default());
            read_new_password(builder, source, &account, Conditions::default());
            // The monitoring role is recorded with the backup and nowhere else; it can be passed only to that
            // service.
            let roles = format!("arn:{}:iam::{}:role/*", partition(home), account.as_str());
            let to =
                Conditions::when("StringEquals", "iam:PassedToService", &["monitoring.rds.amazonaws.com"]);
            builder.document.allow("PassMonitoringRole", &["iam:PassRole"], [roles], to);
            keys(builder, source, &account)?;
        }
        IamRole::Retention => {
            builder.document.allow("DeleteTaggedSnapshots", &[names.delete_snapshot], snapshots, is_ours);
            let mut left = everywhere("db", "*");
            left.extend(everywhere(names.database, "*"));
            builder.document.allow("DeleteExpiredLeftovers", names.delete, left, expires);
        }
        IamRole::Auditor => {}
        IamRole::BreakGlass => {
            let mut databases = everywhere(names.database, &format!("{}*", names.identifier));
            databases.push(database.clone());
            // A cluster's instances have arbitrary names, which are freed with the cluster.
            if names.database == "cluster" {
                databases.extend(everywhere("db", "*"));
            }
            let by_hand = Conditions::when("Bool", "aws:MultiFactorAuthPresent", &["true"]);
            builder.document.allow("PromoteRestoredDatabase", names.change, databases, by_hand.clone());
            let mut restored = everywhere("db", "*");
            restored.extend(everywhere(names.database, "*"));
            let ours = is_ours.and("Bool", "aws:MultiFactorAuthPresent", &["true"]);
            builder.document.allow("PromoteRestoredDatabase", names.change, restored.clone(), ours.clone());
            read_new_password(builder, source, &account, by_hand.clone());
            let mark = ["rds:AddTagsToResource", "rds:RemoveTagsFromResource"];
            builder.document.allow("TagPromoted", &mark, restored, ours);
            if source.regions.iter().any(|region| region.automated_backups) {
                let mut resources = vec![database];
                resources.extend(everywhere("auto-backup", "*"));
                let start = ["rds:StartDBInstanceAutomatedBackupsReplication"];
                builder.document.allow("ReplicateAutomatedBackups", &start, resources, by_hand);
                for region in source.regions.iter().filter(|region| region.automated_backups) {
                    if let Some(named) = &region.kms_key {
                        key::look(builder, Some(named), &region.name, &account)?;
                    }
                }
                keys(builder, source, &account)?;
            }
        }
    }
    Ok(())
}

/// Returns the name patterns that the restorer may create for a source in a region; `*` matches anything.
pub fn restored_names(source: &RdsSource, region: &str) -> Vec<String> {
    let own = source.database.identifier();
    let mut names = vec!["drctl-*".to_owned(), format!("{own}-*")];
    if region != source.place.region {
        names.push(own.to_owned());
    }
    names
}

/// Returns whether the restorer may create a database with that name.
pub fn may_be_restored_as(source: &RdsSource, region: &str, name: &str) -> bool {
    restored_names(source, region).iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    })
}

fn describe(builder: &mut Builder<'_>, names: &Names<'_>, everywhere: &dyn Fn(&str, &str) -> Vec<String>) {
    // Who removes backups needs neither groups nor automated backups.
    let (kinds, actions) = match builder.role {
        IamRole::Retention => (&[names.database, names.snapshot][..], names.describe_snapshots),
        _ => (names.described, names.describe),
    };
    let mut resources = everywhere("db", "*");
    for kind in kinds {
        resources.extend(everywhere(kind, "*"));
    }
    builder.document.allow("DescribeDatabases", actions, resources, Conditions::default());
    if builder.role != IamRole::BreakGlass {
        builder.document.anywhere(&["rds:DescribeAccountAttributes"]);
    }
}

/// Allows logins with a token. A restored database gets a new resource ID and is promoted to replace the
/// database, so the current ID is not named; the role in the database is.
///
/// A role that takes dumps logs in where the database runs; one that restores or promotes, in every region of
/// a restore. No condition is added: RDS evaluates few of them.
fn log_in(builder: &mut Builder<'_>, source: &RdsSource, account: &Account) {
    let Some(login) = &source.login else { return };
    let (Some(PasswordSource::IamToken(_)), Some(url)) = (&login.password, &login.url) else { return };
    let Ok(parameters) = ConnectionParameters::from_url(url) else { return };
    let home = source.place.region.as_str();
    let away = source.regions.iter().map(|region| region.name.as_str());
    let regions: Vec<&str> = match builder.role {
        IamRole::Writer if login.logical.is_some() => vec![home],
        IamRole::Restorer | IamRole::BreakGlass => std::iter::once(home).chain(away).collect(),
        IamRole::Writer | IamRole::Retention | IamRole::Auditor => return,
    };
    let users = regions.into_iter().map(|region| {
        let (partition, account) = (partition(region), account.as_str());
        format!("arn:{partition}:rds-db:{region}:{account}:dbuser:*/{}", parameters.user)
    });
    builder.document.allow("ConnectByToken", &["rds-db:connect"], users, Conditions::default());
}

/// Allows reading the new master password: if RDS manages the password, it creates a secret for a restored
/// database, with a name of its own. Only if the policy's password may be such a secret.
fn read_new_password(builder: &mut Builder<'_>, source: &RdsSource, account: &Account, when: Conditions) {
    let password = source.login.as_ref().and_then(|login| login.password.as_ref());
    // RDS rotates managed passwords weekly: none is in a file.
    let Some(PasswordSource::Secret(SecretRef::SecretsManager { .. } | SecretRef::Command(_))) = password
    else {
        return;
    };
    let home = source.place.region.as_str();
    let away = source.regions.iter().map(|region| region.name.as_str());
    let kind = match source.database {
        RdsDatabase::Instance(_) => "db",
        RdsDatabase::Cluster(_) => "cluster",
    };
    let secrets = std::iter::once(home).chain(away).map(|region| {
        let (partition, account) = (partition(region), account.as_str());
        format!("arn:{partition}:secretsmanager:{region}:{account}:secret:rds!{kind}-*")
    });
    let read = ["secretsmanager:GetSecretValue"];
    builder.document.allow("ReadPasswordManagedByRds", &read, secrets, when);
}

/// Allows the use of the database's own key, and that of each region.
fn keys(builder: &mut Builder<'_>, source: &RdsSource, account: &Account) -> Result<(), IamError> {
    key::of_rds(builder, None, &source.place.region, account)?;
    for region in &source.regions {
        if let Some(named) = &region.kms_key {
            key::of_rds(builder, Some(named), &region.name, account)?;
        }
    }
    Ok(())
}

/// Instances and clusters have different calls and ARNs for the same operations.
struct Names<'s> {
    identifier: &'s str,
    database: &'static str,
    snapshot: &'static str,
    parameters: &'static str,
    automated: &'static str,
    described: &'static [&'static str],
    describe: &'static [&'static str],
    describe_snapshots: &'static [&'static str],
    create: &'static str,
    copy: &'static str,
    share: &'static str,
    restore: [&'static str; 2],
    members: Vec<&'static str>,
    /// Kinds of parameter groups.
    groups: &'static [&'static str],
    make_groups: &'static [&'static str],
    set_groups: &'static [&'static str],
    change: &'static [&'static str],
    modify: &'static [&'static str],
    delete: &'static [&'static str],
    delete_snapshot: &'static str,
}

impl<'s> Names<'s> {
    fn for_source(source: &'s RdsSource) -> Self {
        match &source.database {
            RdsDatabase::Instance(identifier) => Self {
                identifier,
                database: "db",
                snapshot: "snapshot",
                parameters: "pg",
                automated: "auto-backup",
                described: &["auto-backup", "og", "pg", "snapshot", "subgrp"],
                describe: &[
                    "rds:DescribeDBInstanceAutomatedBackups",
                    "rds:DescribeDBInstances",
                    "rds:DescribeDBParameterGroups",
                    "rds:DescribeDBParameters",
                    "rds:DescribeDBSnapshotAttributes",
                    "rds:DescribeDBSnapshots",
                    "rds:DescribeDBSubnetGroups",
                    "rds:DescribeOptionGroups",
                    "rds:ListTagsForResource",
                ],
                describe_snapshots: &[
                    "rds:DescribeDBInstances",
                    "rds:DescribeDBSnapshotAttributes",
                    "rds:DescribeDBSnapshots",
                    "rds:ListTagsForResource",
                ],
                create: "rds:CreateDBSnapshot",
                copy: "rds:CopyDBSnapshot",
                share: "rds:ModifyDBSnapshotAttribute",
                restore: ["rds:RestoreDBInstanceFromDBSnapshot", "rds:RestoreDBInstanceToPointInTime"],
                members: vec![],
                groups: &["pg"],
                make_groups: &["rds:CreateDBParameterGroup"],
                set_groups: &["rds:ModifyDBParameterGroup"],
                change: &["rds:ModifyDBInstance", "rds:RebootDBInstance"],
                modify: &["rds:ModifyDBInstance"],
                delete: &["rds:DeleteDBInstance"],
                delete_snapshot: "rds:DeleteDBSnapshot",
            },
            RdsDatabase::Cluster(identifier) => Self {
                identifier,
                database: "cluster",
                snapshot: "cluster-snapshot",
                parameters: "cluster-pg",
                automated: "cluster-auto-backup",
                described: &[
                    "cluster",
                    "cluster-auto-backup",
                    "cluster-pg",
                    "cluster-snapshot",
                    "pg",
                    "subgrp",
                ],
                describe: &[
                    "rds:DescribeDBClusterAutomatedBackups",
                    "rds:DescribeDBClusterParameterGroups",
                    "rds:DescribeDBClusterParameters",
                    "rds:DescribeDBClusterSnapshotAttributes",
                    "rds:DescribeDBClusterSnapshots",
                    "rds:DescribeDBClusters",
                    "rds:DescribeDBInstances",
                    "rds:DescribeDBParameterGroups",
                    "rds:DescribeDBParameters",
                    "rds:DescribeDBSubnetGroups",
                    "rds:ListTagsForResource",
                ],
                describe_snapshots: &[
                    "rds:DescribeDBClusterSnapshotAttributes",
                    "rds:DescribeDBClusterSnapshots",
                    "rds:DescribeDBClusters",
                    "rds:DescribeDBInstances",
                    "rds:ListTagsForResource",
                ],
                create: "rds:CreateDBClusterSnapshot",
                copy: "rds:CopyDBClusterSnapshot",
                share: "rds:ModifyDBClusterSnapshotAttribute",
                restore: ["rds:RestoreDBClusterFromSnapshot", "rds:RestoreDBClusterToPointInTime"],
                members: vec!["rds:CreateDBInstance"],
                groups: &["cluster-pg", "pg"],
                make_groups: &["rds:CreateDBClusterParameterGroup", "rds:CreateDBParameterGroup"],
                set_groups: &["rds:ModifyDBClusterParameterGroup", "rds:ModifyDBParameterGroup"],
                change: &[
                    "rds:ModifyDBCluster",
                    "rds:ModifyDBInstance",
                    "rds:RebootDBCluster",
                    "rds:RebootDBInstance",
                ],
                modify: &["rds:ModifyDBCluster", "rds:ModifyDBInstance"],
                delete: &["rds:DeleteDBCluster", "rds:DeleteDBInstance"],
                delete_snapshot: "rds:DeleteDBClusterSnapshot",
            },
        }
    }
}
