//! What an incident leaves to restore from, and which source is restored. Pure.

use thiserror::Error;

use super::Scenario;
use crate::model::{RepositoryName, SourceName};
use crate::policy::{Policy, RepositoryConfig, RepositoryLocation, Source};

/// The repositories that a scenario leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivors {
    /// Those that are opened, in the policy's order. The others are not called once.
    pub repositories: Vec<RepositoryName>,
    /// The one that backups are read from; `None`: the data is in none.
    pub from: Option<RepositoryName>,
    /// Whether what this host remembers of earlier runs may be used.
    pub is_host_known: bool,
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SurvivorsError {
    #[error("the policy has no copy that is left when the region of the primary is lost")]
    NothingLeft,
    #[error("the policy has no repository `{0}`")]
    Unknown(RepositoryName),
    #[error("`{0}` is lost with the region of the primary")]
    Lost(RepositoryName),
}

/// Returns what the scenario leaves of the policy's repositories. `asked`: the repository that was asked for;
/// `configured`: the one that the policy reads from where it can.
pub fn survivors(
    scenario: Scenario,
    repositories: &[RepositoryConfig],
    asked: Option<&RepositoryName>,
    configured: Option<&RepositoryName>,
) -> Result<Survivors, SurvivorsError> {
    let left: Vec<&RepositoryConfig> = match scenario {
        Scenario::RegionLoss => outside(repositories).collect(),
        _ => repositories.iter().collect(),
    };
    if left.is_empty() && scenario == Scenario::RegionLoss {
        return Err(SurvivorsError::NothingLeft);
    }
    let is_left = |name: &RepositoryName| left.iter().any(|config| config.name == *name);
    let from = match asked {
        _ if scenario.is_in_aws() => None,
        Some(name) if is_left(name) => Some(name.clone()),
        Some(name) if repositories.iter().any(|config| config.name == *name) => {
            return Err(SurvivorsError::Lost(name.clone()));
        }
        Some(name) => return Err(SurvivorsError::Unknown(name.clone())),
        None => {
            let usable = configured.filter(|name| is_left(name)).cloned();
            usable.or_else(|| left.last().map(|farthest| farthest.name.clone()))
        }
    };
    Ok(Survivors {
        repositories: left.into_iter().map(|config| config.name.clone()).collect(),
        from,
        is_host_known: !matches!(scenario, Scenario::RegionLoss | Scenario::EscrowKey),
    })
}

/// Returns the repositories that are left when the region of the primary is lost. A directory is in no region: it is
/// taken for another place, unless it is the primary. Another endpoint of AWS is no other region.
fn outside(repositories: &[RepositoryConfig]) -> impl Iterator<Item = &RepositoryConfig> {
    let lost = repositories.first().and_then(region);
    repositories.iter().skip(1).filter(move |config| {
        let own = region(config);
        own.is_none() || own != lost
    })
}

/// Returns the region of a bucket, and the server that it is a region of.
fn region(config: &RepositoryConfig) -> Option<(&str, Option<(String, u16)>)> {
    match &config.place {
        RepositoryLocation::S3(place) => Some((place.region.as_str(), place.server())),
        RepositoryLocation::Directory(_) => None,
    }
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DrillSourceError {
    #[error("the policy has no source `{0}`")]
    Unknown(SourceName),
    #[error("the policy has no source for scenario `{0}`")]
    NoneFits(Scenario),
    #[error("the policy has several sources that could be restored")]
    SeveralFit,
    #[error("scenario `{scenario}` does not restore `{source_name}`, a source of kind `{kind}`")]
    Unfit { scenario: Scenario, source_name: SourceName, kind: String },
}

/// Returns the source that a scenario restores: the one that was asked for, the one of the policy's drill, or the only
/// one that it can restore.
pub fn drilled_source<'p>(
    policy: &'p Policy,
    scenario: Scenario,
    asked: Option<&SourceName>,
) -> Result<&'p Source, DrillSourceError> {
    let fits = |source: &&Source| match scenario {
        Scenario::RdsSnapshot | Scenario::RdsPointInTime => source.rds().is_some(),
        Scenario::AwsBackup => source.aws_backup().is_some(),
        _ => source.login().is_some(),
    };
    // The policy's drill may be of another source than the one in AWS.
    let of_policy = policy.drill.as_ref().map(|drill| &drill.source).filter(|_| !scenario.is_in_aws());
    let Some(name) = asked.or(of_policy) else {
        let mut fitting = policy.sources.iter().filter(fits);
        return match (fitting.next(), fitting.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err(DrillSourceError::NoneFits(scenario)),
            (Some(_), Some(_)) => Err(DrillSourceError::SeveralFit),
        };
    };
    let source = policy.source(name).ok_or_else(|| DrillSourceError::Unknown(name.clone()))?;
    if fits(&source) {
        return Ok(source);
    }
    let kind = source.config.kind().to_string();
    Err(DrillSourceError::Unfit { scenario, source_name: source.name.clone(), kind })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::policy::parse;

    /// The repositories of a policy: directories, and buckets in these regions.
    fn repositories(places: &[&str]) -> Vec<RepositoryConfig> {
        let names = ["primary", "copies.west", "copies.north"];
        let tables = names.iter().zip(places).map(|(name, place)| match place.starts_with('/') {
            true => format!("[repository.{name}]\ndirectory = \"{place}\"\n"),
            false => format!("[repository.{name}]\nurl = \"s3://b-{name}/p\"\nregion = \"{place}\"\n"),
        });
        let tables: String = tables.collect();
        let text = include_str!("../../policies/template.toml");
        let (from, until) = (text.find("[repository.primary]").unwrap(), text.find("[encryption]").unwrap());
        let text = format!("{}{}{}", &text[..from], tables.replace("b-copies.", "b-"), &text[until..]);
        parse(Path::new("p.toml"), &text.replacen("\nfrom = ", "\n#from = ", 1)).unwrap().repositories
    }

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    fn names(found: &Survivors) -> Vec<&str> {
        found.repositories.iter().map(RepositoryName::as_str).collect()
    }

    #[test]
    fn with_the_region_every_repository_in_it_is_lost() {
        let all = repositories(&["eu-central-1", "eu-central-1", "eu-west-1"]);
        let found = survivors(Scenario::RegionLoss, &all, None, Some(&name("west"))).unwrap();
        // The policy's own is lost too, and the farthest is read in its place.
        assert_eq!((names(&found), &found.from), (vec!["north"], &Some(name("north"))));
        assert!(!found.is_host_known);
        let asked = |text: &str| survivors(Scenario::RegionLoss, &all, Some(&name(text)), None).unwrap_err();
        assert_eq!(asked("west"), SurvivorsError::Lost(name("west")));
        assert_eq!(asked("primary"), SurvivorsError::Lost(name("primary")));
        assert_eq!(asked("south"), SurvivorsError::Unknown(name("south")));
        let near = repositories(&["eu-central-1", "eu-central-1"]);
        assert_eq!(survivors(Scenario::RegionLoss, &near, None, None), Err(SurvivorsError::NothingLeft));
        // Nor is a bucket elsewhere because it is reached by another endpoint.
        let mut near = repositories(&["eu-central-1", "eu-central-1", "eu-central-1"]);
        for (config, endpoint) in near.iter_mut().skip(1).zip([
            "https://s3.dualstack.eu-central-1.amazonaws.com",
            "https://bucket.vpce-1a2b3c4d-5e6f.s3.eu-central-1.vpce.amazonaws.com",
        ]) {
            let RepositoryLocation::S3(place) = &mut config.place else { continue };
            place.endpoint = endpoint.parse().ok();
        }
        assert_eq!(survivors(Scenario::RegionLoss, &near, None, None), Err(SurvivorsError::NothingLeft));
        if let RepositoryLocation::S3(place) = &mut near[2].place {
            place.endpoint = "https://eu-central-1.example".parse().ok();
        }
        assert_eq!(names(&survivors(Scenario::RegionLoss, &near, None, None).unwrap()), ["north"]);
        // Directories are no region: only the primary is lost.
        let folders = repositories(&["/a", "/b"]);
        assert_eq!(names(&survivors(Scenario::RegionLoss, &folders, None, None).unwrap()), ["west"]);
    }

    #[test]
    fn otherwise_all_are_left_and_the_policys_or_the_farthest_is_read() {
        let all = repositories(&["eu-central-1", "eu-central-1", "eu-west-1"]);
        let of = |scenario, asked: Option<&str>, configured: Option<&str>| {
            let (asked, configured) = (asked.map(name), configured.map(name));
            survivors(scenario, &all, asked.as_ref(), configured.as_ref()).unwrap()
        };
        assert_eq!(of(Scenario::Newest, None, None).from, Some(name("north")));
        assert_eq!(of(Scenario::Newest, None, Some("west")).from, Some(name("west")));
        assert_eq!(of(Scenario::Random, Some("primary"), Some("west")).from, Some(name("primary")));
        assert_eq!(of(Scenario::Newest, None, None).repositories.len(), 3);
        assert!(of(Scenario::Newest, None, None).is_host_known);
        // What the lost host knew is lost with it.
        assert!(!of(Scenario::EscrowKey, None, None).is_host_known);
        assert_eq!(of(Scenario::RdsSnapshot, None, None).from, None);
    }

    #[test]
    fn the_source_is_the_one_asked_for_or_the_drills_own_if_the_scenario_can_restore_it() {
        let policy = parse(Path::new("p.toml"), include_str!("../../policies/classboard.toml")).unwrap();
        let drilled = |scenario, asked: Option<&str>| {
            let asked: Option<SourceName> = asked.map(|name| name.parse().unwrap());
            drilled_source(&policy, scenario, asked.as_ref()).map(|source| source.name.to_string())
        };
        let own = policy.drill.as_ref().unwrap().source.to_string();
        assert_eq!(drilled(Scenario::Newest, None), Ok(own.clone()));
        assert!(matches!(drilled(Scenario::Newest, Some("no-such")), Err(DrillSourceError::Unknown(_))));
        for source in &policy.sources {
            let found = drilled(Scenario::RdsSnapshot, Some(source.name.as_str()));
            assert_eq!(found.is_ok(), source.rds().is_some(), "{found:?}");
        }
    }
}
