use super::Context;
use super::error::CommandError;
use super::style;
use crate::catalog::{
    BackupEntry, BackupHistory, Catalog, CatalogError, CatalogLocation, CopyEntry, Depth, Filter, Refreshed,
    intact_copies, refresh,
};
use crate::model::{BackupId, RepositoryName};
use crate::policy::Policy;
use crate::recoverability::assess::KnownRepository;
use crate::recoverability::immutability::ImmutabilityState;
use crate::recoverability::missing_copies::{MissingCopy, missing_copies};
use crate::recoverability::missing_wal::{MissingWal, Obstacle};
use crate::recoverability::survey::missing_wal;
use crate::repository::{MarkerError, Repositories, Unavailable};
use crate::text::{count, format_time};

/// Where a verb's knowledge comes from
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Freshness {
    /// Ask no repository: use what the catalog knows
    #[arg(long)]
    pub(super) offline: bool,
}

/// Whether a command has said yet what is wrong with the repositories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    First,
    Before,
}

/// The known facts about the policy's backups, after the repositories were queried.
pub(super) struct CatalogView {
    pub(super) policy: Policy,
    pub(super) catalog: Catalog,
    /// As opened for reading; empty with `--offline`.
    pub(super) repositories: Repositories,
    /// As opened, also those that cannot be read from; empty with `--offline`.
    pub(super) opened: Repositories,
    /// `None` with `--offline`.
    pub(super) refreshed: Option<Refreshed>,
    /// Missing copies, newest first.
    pub(super) missing: Vec<MissingCopy>,
}

impl CatalogView {
    /// Opens the policy's catalog and updates it to the contents of the repositories. Repositories that could
    /// not be queried are reported on stderr.
    pub(super) async fn open(context: &Context, offline: bool) -> Result<Self, CommandError> {
        Self::open_policy(context, context.policy()?, offline).await
    }

    /// Opens it for a policy that was read.
    pub(super) async fn open_policy(
        context: &Context,
        policy: Policy,
        offline: bool,
    ) -> Result<Self, CommandError> {
        if !offline {
            return Self::open_known(context, policy, Known::First).await;
        }
        let opened = context.repositories(&policy).await;
        let (catalog, _) = context.catalog(&policy).await?.remember(&opened).await?;
        Self::of(policy, catalog, Repositories::default(), None).await.inspect(|view| view.warn_gone(context))
    }

    /// Opens it for a policy that was read, asking the repositories.
    pub(super) async fn open_known(
        context: &Context,
        policy: Policy,
        known: Known,
    ) -> Result<Self, CommandError> {
        let opened = context.repositories(&policy).await;
        let (catalog, opened) = recall(context, &policy, opened).await;
        let repositories = opened.clone().for_reading(&policy.system, None).await;
        let (catalog, refreshed) = brought_up(context, &policy, catalog, &repositories).await?;
        if known == Known::First {
            warn(context, &refreshed);
            warn_unmarked(context, &repositories);
        }
        let view = Self::of(policy, catalog, repositories, Some(refreshed)).await?;
        if known == Known::First {
            view.warn_gone(context);
        }
        Ok(Self { opened, ..view })
    }

    async fn of(
        policy: Policy,
        catalog: Catalog,
        repositories: Repositories,
        refreshed: Option<Refreshed>,
    ) -> Result<Self, CommandError> {
        let history = catalog.history().await?;
        let missing = missing(&policy, &catalog, refreshed.as_ref(), &history).await?;
        Ok(Self { policy, catalog, repositories, opened: Repositories::default(), refreshed, missing })
    }

    fn warn_gone(&self, context: &Context) {
        // A manifest that is not accepted was reported already.
        let is_refused = |missing: &MissingCopy| {
            self.refreshed.iter().flat_map(|refreshed| &refreshed.refused).any(|refused| {
                (&refused.backup, &refused.repository) == (&missing.backup, &missing.repository)
            })
        };
        let gone: Vec<_> = self.missing.iter().filter(|missing| !is_refused(missing)).cloned().collect();
        warn_gone(context, &gone);
    }

    /// Returns the entries, newest first, including those missing everywhere.
    pub(super) async fn entries_with_lost(&self) -> Result<Vec<BackupEntry>, CommandError> {
        let all = self.catalog.backups(&Filter { vanished: true, ..Filter::default() }).await?;
        let is_missing =
            |entry: &BackupEntry| self.missing.iter().any(|missing| missing.backup == *entry.id());
        Ok(all.into_iter().filter(|entry| entry.is_held() || is_missing(entry)).collect())
    }

    /// Returns whether every repository has its marker, and no copy has vanished.
    pub(super) fn is_whole(&self) -> bool {
        self.repositories.unmarked().is_empty() && !self.missing.iter().any(MissingCopy::is_gone)
    }

    /// Returns the entries, newest first.
    pub(super) async fn entries(&self) -> Result<Vec<BackupEntry>, CommandError> {
        Ok(self.catalog.backups(&Filter::default()).await?)
    }

    /// Finds the backup with this id or prefix.
    pub(super) async fn find(&self, text: &str) -> Result<BackupEntry, CommandError> {
        self.catalog.find(text).await.map_err(|error| match error {
            CatalogError::Unknown(_) if self.refreshed.is_none() => {
                CommandError::from(error).hint("Without `--offline` the repositories are asked, too.")
            }
            error => error.into(),
        })
    }

    /// Returns the policy's repositories, in its order.
    pub(super) fn places(&self) -> Vec<KnownRepository> {
        known_repositories(&self.policy, self.refreshed.as_ref())
    }

    /// Returns what prevents the base backups among these from being restored. `all`: all possible parents.
    pub(super) async fn missing_wal(&self, entries: &[&BackupEntry], all: &[BackupEntry]) -> MissingWal {
        let ids: Vec<&BackupId> = entries.iter().map(|entry| entry.id()).collect();
        let names = self.policy.repositories.iter().map(|config| &config.name);
        missing_wal(&self.repositories, &intact_copies(all), &ids, names).await
    }

    /// Returns why a repository could not be read.
    pub(super) fn problem(&self, name: &RepositoryName) -> Option<String> {
        let lost = self.refreshed.as_ref()?.lost.iter().find(|lost| lost.name == *name)?;
        Some(lost.reason())
    }
}

fn known_repositories(policy: &Policy, refreshed: Option<&Refreshed>) -> Vec<KnownRepository> {
    let reached = |name: &RepositoryName| refreshed.is_none_or(|refreshed| refreshed.seen.contains(name));
    let names = policy.repositories.iter().map(|config| config.name.clone());
    names.map(|name| KnownRepository { reached: reached(&name), name }).collect()
}

/// Returns the missing copies, as far as the catalog knows.
pub(super) async fn missing(
    policy: &Policy,
    catalog: &Catalog,
    refreshed: Option<&Refreshed>,
    history: &BackupHistory,
) -> Result<Vec<MissingCopy>, CommandError> {
    let entries = catalog.backups(&Filter { vanished: true, ..Filter::default() }).await?;
    Ok(missing_copies(&entries, history, &known_repositories(policy, refreshed)))
}

/// Opens the policy's catalog, and gives the repositories what it knows of them. Warns where it is unusable.
pub(super) async fn recall(
    context: &Context,
    policy: &Policy,
    repositories: Repositories,
) -> (Option<Catalog>, Repositories) {
    let opened = match context.catalog(policy).await {
        Ok(catalog) => catalog.remember(&repositories).await.map_err(CommandError::from),
        Err(refused) => Err(refused),
    };
    match opened {
        Ok((catalog, remembered)) => (Some(catalog), repositories.remembering(remembered)),
        Err(refused) => {
            say_without(context, &refused);
            (None, repositories)
        }
    }
}

/// Returns the catalog, updated to the contents of the repositories. One that is unusable, or fails meanwhile
/// (disk full, locked by another process), must not hide these contents when they are needed most: an empty
/// one in memory is filled from them for this command.
pub(super) async fn brought_up(
    context: &Context,
    policy: &Policy,
    catalog: Option<Catalog>,
    repositories: &Repositories,
) -> Result<(Catalog, Refreshed), CommandError> {
    let now = context.clock.now();
    if let Some(catalog) = catalog {
        let catalog = catalog.of_repository(repositories.id());
        match refresh(&catalog, &policy.system, repositories, Depth::New, now).await {
            Ok(refreshed) => return Ok((catalog, refreshed)),
            Err(error) => say_without(context, &error.into()),
        }
    }
    let stand_in = Catalog::open(&CatalogLocation::Memory, &policy.system).await?;
    let stand_in = stand_in.of_repository(repositories.id());
    let refreshed = refresh(&stand_in, &policy.system, repositories, Depth::New, now).await?;
    Ok((stand_in, refreshed))
}

fn say_without(context: &Context, refused: &CommandError) {
    context.output.warn(format!("the catalog is rebuilt in memory for this command only: {refused}"));
    for hint in &refused.hints {
        context.output.note(format!("hint: {hint}"));
    }
}

pub(super) fn warn(context: &Context, refreshed: &Refreshed) {
    for lost in &refreshed.lost {
        warn_lost(context, lost);
    }
    for refused in &refreshed.refused {
        let reason = crate::text::error_chain(&refused.error);
        context
            .output
            .warn(format!("`{}` holds what is not accepted as a backup: {reason}", refused.repository));
    }
    for reason in &refreshed.unread {
        context.output.warn(format!("a record of the journal is not accepted: {reason}"));
    }
}

/// Warns about repositories that lost their marker.
pub(super) fn warn_unmarked(context: &Context, repositories: &Repositories) {
    for unmarked in repositories.unmarked() {
        context.output.warn(format!("repository `{}`: {}", unmarked.name, unmarked.reason()));
        context.output.note(format!(
            "hint: No backup is written to it. Who removed `drctl-repository.json`? `drctl repository create {}` writes it again.",
            unmarked.name
        ));
    }
}

/// The hint for vanished copies.
pub(super) const GONE_HINT: &str = "hint: `drctl copies sync` copies what another repository has. Where a backup was removed on purpose, `drctl copies forget` records that.";

/// Warns about the number of backups that vanished from a repository, in each run until they are back or
/// acknowledged.
pub(super) fn warn_gone(context: &Context, missing: &[MissingCopy]) {
    let mut gone: Vec<(&RepositoryName, u64)> = Vec::new();
    for missing in missing.iter().filter(|missing| missing.is_gone()) {
        match gone.iter_mut().find(|(known, _)| **known == missing.repository) {
            Some((_, number)) => *number += 1,
            None => gone.push((&missing.repository, 1)),
        }
    }
    for (name, number) in gone {
        let backups = count(number, "backup");
        context.output.warn(format!("{backups} that `{name}` held before cannot be found there any more"));
    }
}

pub(super) fn warn_lost(context: &Context, lost: &Unavailable) {
    let reason = lost.reason();
    context.output.warn(format!("failed to query repository `{}`: {reason}", lost.name));
    hint_lost(context, lost);
}

/// Hints at what to do about an unavailable repository.
pub(super) fn hint_lost(context: &Context, lost: &Unavailable) {
    let name = &lost.name;
    match lost.error.downcast_ref() {
        Some(MarkerError::Emptied { .. }) => {
            context.output.note(format!(
                "hint: Is its file system not mounted, is it another bucket or prefix, or was it emptied? `drctl repository create {name}` creates a new one where that is meant."
            ));
        }
        Some(MarkerError::OtherRepository { .. }) => context.output.note(
            "hint: Is another file system mounted there, or does the policy name another bucket? Where it was recreated on purpose, `drctl catalog rebuild` forgets the one that was there before.",
        ),
        Some(MarkerError::OtherSystem { .. }) => context.output.note(
            "hint: Is another file system mounted there? Each system has a bucket, a prefix or a directory of its own.",
        ),
        Some(MarkerError::SamePlace { .. }) => context.output.note(format!(
            "hint: What takes one takes both. Give `{name}` another place in the policy, or remove it."
        )),
        Some(MarkerError::Json { .. }) => context.output.note(format!(
            "hint: Does a proxy or a maintenance page answer for `{name}`? Where the marker itself is damaged, the one of another repository shows what it should say."
        )),
        _ => {}
    }
}

/// Returns the error where no repository is writable, with a hint for each.
pub(super) fn not_opened(context: &Context, error: MarkerError) -> CommandError {
    if let MarkerError::NoneReachable(lost) | MarkerError::PrimaryNeeded(lost) = &error {
        lost.iter().for_each(|lost| hint_lost(context, lost));
    }
    CommandError::failed(error)
}

pub(super) fn say_created(context: &Context, repositories: &Repositories) {
    for repository in repositories.created() {
        context.output.note(format!(
            "created repository `{}` in {}",
            repository.name,
            repository.store.location()
        ));
    }
}

/// Returns whether a repository counts as immutable, in words.
pub(super) fn lock_words(state: &ImmutabilityState) -> String {
    match state {
        ImmutabilityState::Proven { at } => {
            format!("immutable: it refused to delete what is locked on {}", format_time(*at))
        }
        ImmutabilityState::Refuted { at, reason } => {
            format!("not immutable: on {} {reason}", format_time(*at))
        }
        ImmutabilityState::Outdated { at } => format!(
            "not known to be immutable: its lock was last tried on {} (`drctl doctor` does)",
            format_time(*at)
        ),
        ImmutabilityState::Untried => {
            "not known to be immutable: its lock was never tried (`drctl doctor` does)".to_owned()
        }
    }
}

/// Returns the state of a copy in one word, with the obstacle to its restore.
pub(super) fn state_word(
    entry: &BackupEntry,
    repository: &KnownRepository,
    missing: &MissingWal,
) -> &'static str {
    match missing.obstacle(entry.id(), &repository.name) {
        Some(Obstacle::Broken(_)) => "broken",
        Some(Obstacle::MissingWal(_)) => "not yet restorable",
        Some(Obstacle::OtherHistory(_)) => "not restorable",
        Some(Obstacle::Unknown(_)) => "unknown",
        None => copy_word(entry.copy(&repository.name), repository.reached),
    }
}

/// Returns the state of a copy in one word.
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
        "missing" | "missing copy" | "bad copy" | "no marker" | "wrong clock" | "not yet restorable"
        | "behind" | "late" | "stalled" | "unknown" | "not reached" => style::WARN,
        "gone" | "bad" | "broken" | "not restorable" | "gap" | "bad log" | "lost" | "objective missed"
        | "another cluster" | "nothing to restore" | "damaged pages" | "no base backup" => style::BAD,
        _ => anstyle::Style::new(),
    }
}

/// Returns how many bytes of an id distinguish it from all others; at least its date.
pub(super) fn prefix_length(id: &BackupId, sorted: &[BackupId]) -> usize {
    let shared = |other: &BackupId| {
        id.as_str().bytes().zip(other.as_str().bytes()).take_while(|(a, b)| a == b).count()
    };
    // Of sorted ids the neighbours share the most.
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
