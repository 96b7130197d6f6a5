//! The source to restore where none is named.

use super::super::error::CommandError;
use crate::model::SourceName;
use crate::policy::{Policy, Source, SourceConfig};

/// The kind of backup and of its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RestoreMethod {
    Dump,
    Directory,
    Instance,
    Resource,
    Content,
}

impl RestoreMethod {
    fn takes(self, source: &Source) -> bool {
        match (self, &source.config) {
            (Self::Dump, SourceConfig::Postgres(postgres)) => postgres.logical.is_some(),
            (Self::Dump, SourceConfig::Rds(rds)) => {
                rds.login.as_ref().is_some_and(|login| login.logical.is_some())
            }
            (Self::Directory, SourceConfig::Postgres(postgres)) => postgres.base.is_some(),
            (Self::Instance, SourceConfig::Rds(_)) | (Self::Resource, SourceConfig::AwsBackup(_)) => true,
            _ => false,
        }
    }

    /// Describes the backups that it restores.
    fn needs(self) -> &'static str {
        match self {
            Self::Dump => "has dumps (`methods = [\"logical\"]`)",
            Self::Directory => "has base backups and archived WAL (`methods = [\"base\", \"wal\"]`)",
            Self::Instance => "is of kind `rds`",
            Self::Resource => "is of kind `aws-backup`",
            Self::Content => "is restored into a file, a directory, a server or a bucket",
        }
    }
}

/// A source that was selected because there is no other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SelectedSource {
    pub(super) name: SourceName,
    /// The reason, for the plan.
    pub(super) why: String,
}

/// Returns the only source that this method can restore; where a backup is named, the source in its id.
pub(super) fn only(
    policy: &Policy,
    way: RestoreMethod,
    backup: Option<&str>,
) -> Result<SelectedSource, CommandError> {
    let all: Vec<&Source> = policy.sources.iter().filter(|source| way.takes(source)).collect();
    let named = |source: &&&Source| backup.is_some_and(|id| names(id, &source.name));
    // `shop-orders` also begins with `shop`: the longest name is the right one.
    if let Some(source) = all.iter().filter(named).max_by_key(|source| source.name.as_str().len()) {
        return Ok(SelectedSource {
            name: source.name.clone(),
            why: "the one whose backup is named".to_owned(),
        });
    }
    let listed = all.iter().map(|source| format!("`{}`", source.name)).collect::<Vec<_>>().join(", ");
    match all.as_slice() {
        [source] => Ok(SelectedSource {
            name: source.name.clone(),
            why: format!("the only one of the policy that {}", way.needs()),
        }),
        [] => Err(CommandError::usage(format!("no source of the policy {}", way.needs()))
            .hint("`drctl policy show` lists the sources.")),
        [_, ..] => Err(CommandError::usage(format!("several sources could be restored so: {listed}"))
            .hint("Name one: `drctl restore SOURCE …`.")),
    }
}

/// Returns whether an id, or its prefix, is of a backup of this source:
/// `20261120T220251Z-database-logical-7f3k`.
fn names(id: &str, source: &SourceName) -> bool {
    let rest = id.split_once("Z-").map(|(_, rest)| rest);
    rest.and_then(|rest| rest.strip_prefix(source.as_str())).is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::exit::Exit;

    fn policy(sources: &str) -> Policy {
        let text = format!(
            "[system]\nname = \"shop\"\n[objectives]\nrto = \"4h\"\nrpo = \"1h\"\n[repository.primary]\ndirectory = \"/b\"\n\
             [encryption]\ndanger_unencrypted = true\n{sources}"
        );
        crate::policy::parse(Path::new("shop.toml"), &text).unwrap()
    }

    fn postgres(name: &str, methods: &str) -> String {
        format!(
            "[sources.{name}]\nkind = \"postgres\"\nurl = \"postgres://h/{name}\"\nmethods = [{methods}]\n"
        )
    }

    fn chosen(policy: &Policy, way: RestoreMethod, backup: Option<&str>) -> Result<String, (Exit, String)> {
        only(policy, way, backup)
            .map(|chosen| chosen.name.to_string())
            .map_err(|error| (error.exit, error.to_string()))
    }

    #[test]
    fn the_only_source_that_can_is_taken_and_several_are_listed() {
        let all = r#""logical", "base", "wal""#;
        let one = policy(&[postgres("shop", all), postgres("auth", r#""logical""#)].concat());
        assert_eq!(chosen(&one, RestoreMethod::Directory, None).unwrap(), "shop");
        let (exit, said) = chosen(&one, RestoreMethod::Dump, None).unwrap_err();
        assert_eq!(
            (exit, said.as_str()),
            (Exit::Usage, "several sources could be restored so: `shop`, `auth`")
        );
        let (exit, said) = chosen(&one, RestoreMethod::Instance, None).unwrap_err();
        assert_eq!((exit, said.as_str()), (Exit::Usage, "no source of the policy is of kind `rds`"));
        let dumps = policy(&postgres("auth", r#""logical""#));
        assert!(chosen(&dumps, RestoreMethod::Directory, None).is_err());
        assert_eq!(chosen(&dumps, RestoreMethod::Dump, None).unwrap(), "auth");
    }

    #[test]
    fn a_backup_that_is_named_names_its_source() {
        let two =
            policy(&[postgres("shop", r#""logical""#), postgres("shop-orders", r#""logical""#)].concat());
        let id = |source: &str| format!("20261120T220251Z-{source}-logical-7f3k");
        assert_eq!(chosen(&two, RestoreMethod::Dump, Some(&id("shop"))).unwrap(), "shop");
        assert_eq!(chosen(&two, RestoreMethod::Dump, Some(&id("shop-orders"))).unwrap(), "shop-orders");
        assert!(chosen(&two, RestoreMethod::Dump, Some("20261120")).is_err());
        assert!(chosen(&two, RestoreMethod::Dump, Some("latest")).is_err());
    }
}
