use super::Context;
use super::error::CommandError;
use super::output::{count, style};
use crate::catalog::{
    BackupEntry, Catalog, CatalogError, CopyEntry, Depth, Filter, Location, Refreshed, refresh,
};
use crate::model::{BackupId, RepositoryName};
use crate::policy::Policy;
use crate::repository::{Lost, MarkerError, Repositories};
use crate::upkeep::standing::Place;

/// Where a verb's knowledge comes from
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Freshness {
    /// Ask no repository: use what the catalog knows
    #[arg(long)]
    pub(super) offline: bool,
}

/// What is known of the policy's backups, after the repositories were asked.
pub(super) struct Known {
    pub(super) policy: Policy,
    pub(super) catalog: Catalog,
    /// As opened for reading; empty with `--offline`.
    pub(super) repositories: Repositories,
    /// `None` with `--offline`.
    pub(super) refreshed: Option<Refreshed>,
    /// Where the catalog is that stands in for one that cannot be opened; gone with the command.
    _stand_in: Option<tempfile::TempDir>,
}

impl Known {
    /// Opens the policy's catalog and brings it up to what the repositories hold. What could not be asked
    /// is said on stderr.
    pub(super) async fn open(context: &Context, offline: bool) -> Result<Self, CommandError> {
        let policy = context.policy()?;
        if offline {
            let catalog = context.catalog(&policy).await?;
            let repositories = Repositories::default();
            return Ok(Self { policy, catalog, repositories, refreshed: None, _stand_in: None });
        }
        let (catalog, stand_in) = open_or_stand_in(context, &policy).await?;
        let id = catalog.repository_id().await?;
        let repositories = context.repositories(&policy).await;
        let repositories = repositories.for_reading(&policy.system, id.as_deref()).await;
        let now = context.clock.now();
        let refreshed = refresh(&catalog, &policy.system, &repositories, Depth::New, now).await?;
        warn(context, &refreshed);
        Ok(Self { policy, catalog, repositories, refreshed: Some(refreshed), _stand_in: stand_in })
    }

    /// Newest first.
    pub(super) async fn entries(&self) -> Result<Vec<BackupEntry>, CommandError> {
        Ok(self.catalog.backups(&Filter::default()).await?)
    }

    /// The backup with this id or prefix.
    pub(super) async fn find(&self, text: &str) -> Result<BackupEntry, CommandError> {
        self.catalog.find(text).await.map_err(|error| match error {
            CatalogError::Unknown(_) if self.refreshed.is_none() => {
                CommandError::from(error).hint("Without `--offline` the repositories are asked, too.")
            }
            error => error.into(),
        })
    }

    /// The policy's repositories, in its order.
    pub(super) fn places(&self) -> Vec<Place> {
        let reached = |name: &RepositoryName| match &self.refreshed {
            Some(refreshed) => refreshed.seen.contains(name),
            None => true,
        };
        let names = self.policy.repositories.iter().map(|config| config.name.clone());
        names.map(|name| Place { reached: reached(&name), name }).collect()
    }

    /// Why a repository could not be asked.
    pub(super) fn problem(&self, name: &RepositoryName) -> Option<String> {
        let lost = self.refreshed.as_ref()?.lost.iter().find(|lost| lost.name == *name)?;
        Some(lost.reason())
    }
}

/// A catalog that cannot be opened must not hide what the repositories hold, on the day it is needed most:
/// an empty one is filled from them for this command.
async fn open_or_stand_in(
    context: &Context,
    policy: &Policy,
) -> Result<(Catalog, Option<tempfile::TempDir>), CommandError> {
    let refused = match context.catalog(policy).await {
        Ok(catalog) => return Ok((catalog, None)),
        Err(refused) => refused,
    };
    let Ok(folder) = tempfile::tempdir() else { return Err(refused) };
    let location = Location::Sqlite(folder.path().join("catalog.db"));
    let Ok(catalog) = Catalog::open(&location, &policy.system).await else { return Err(refused) };
    context.output.warn(format!("the catalog is made anew for this command only: {refused}"));
    for hint in &refused.hints {
        context.output.note(format!("hint: {hint}"));
    }
    Ok((catalog, Some(folder)))
}

pub(super) fn warn(context: &Context, refreshed: &Refreshed) {
    for lost in &refreshed.lost {
        warn_lost(context, lost);
    }
    for refused in &refreshed.refused {
        let reason = crate::event::told(&refused.error);
        context
            .output
            .warn(format!("`{}` holds what is not accepted as a backup: {reason}", refused.repository));
    }
    let mut gone: Vec<(&RepositoryName, u64)> = Vec::new();
    for (name, _) in &refreshed.vanished {
        match gone.iter_mut().find(|(known, _)| *known == name) {
            Some((_, number)) => *number += 1,
            None => gone.push((name, 1)),
        }
    }
    for (name, number) in gone {
        let backups = count(number, "backup");
        context.output.warn(format!("{backups} that `{name}` held before cannot be found there any more"));
    }
    for reason in &refreshed.unread {
        context.output.warn(format!("a record of the journal was left out: {reason}"));
    }
}

pub(super) fn warn_lost(context: &Context, lost: &Lost) {
    let reason = lost.reason();
    context.output.warn(format!("repository `{}` could not be asked: {reason}", lost.name));
    if let Some(MarkerError::OtherRepository { .. }) = lost.error.downcast_ref() {
        context.output.note(
            "hint: If it was begun anew on purpose, `drctl catalog rebuild` forgets the one that was there before.",
        );
    }
}

/// A copy in one word.
pub(super) fn copy_word(copy: Option<&CopyEntry>, reached: bool) -> &'static str {
    match copy {
        None if reached => "missing",
        None => "unknown",
        Some(copy) if !copy.is_held() => "gone",
        Some(copy) if !copy.is_good() => "bad",
        Some(copy) => copy.state.as_str(),
    }
}

pub(super) fn word_style(word: &str) -> anstyle::Style {
    match word {
        "checked" | "proven" | "ok" | "good" => style::GOOD,
        "missing" | "not yet restorable" | "behind" | "late" | "stalled" | "unknown" | "not reached" => {
            style::WARN
        }
        "gone" | "bad" | "broken" | "gap" | "bad log" | "lost" | "objective missed" | "another cluster"
        | "nothing to restore" => style::BAD,
        _ => anstyle::Style::new(),
    }
}

/// How many bytes of each id tell it from all the others; never fewer than its date.
pub(super) fn prefix_length(id: &BackupId, sorted: &[BackupId]) -> usize {
    let shared = |other: &BackupId| {
        id.as_str().bytes().zip(other.as_str().bytes()).take_while(|(a, b)| a == b).count()
    };
    // Of sorted ids only the neighbours can share more than the others.
    let at = sorted.partition_point(|other| other < id);
    let before = at.checked_sub(1).and_then(|before| sorted.get(before));
    let neighbours = before.into_iter().chain(sorted.get(at + 1));
    let longest = neighbours.map(shared).max().unwrap_or(0);
    (longest + 1).max("20261120".len()).min(id.as_str().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_prefix_is_enough_and_not_less() {
        let ids: Vec<BackupId> = [
            "20261119T120000Z-database-logical-2222",
            "20261120T120000Z-database-logical-2222",
            "20261120T120000Z-database-logical-2233",
            "20261120T130000Z-database-logical-2222",
        ]
        .map(|text| text.parse().unwrap())
        .to_vec();
        let prefixes: Vec<_> = ids.iter().map(|id| &id.as_str()[..prefix_length(id, &ids)]).collect();
        let expected = [
            "20261119",
            "20261120T120000Z-database-logical-222",
            "20261120T120000Z-database-logical-223",
            "20261120T13",
        ];
        assert_eq!(prefixes, expected);
        for (n, prefix) in prefixes.iter().enumerate() {
            let named: Vec<_> = ids.iter().filter(|id| id.as_str().starts_with(prefix)).collect();
            assert_eq!(named, [&ids[n]]);
        }
    }
}
