use std::path::PathBuf;

use thiserror::Error;

use super::error::BaseError;
use super::prepare::Prepared;
use super::replication::{self, Begun};
use crate::event::{Events, told};
use crate::model::{BackupId, Manifest, ServerFacts, parent};
use crate::platform::{CancellationToken, ProcessError};
use crate::postgres::Tools;

/// The first major that can be copied by its changes.
const FIRST_MAJOR: u32 = 17;

/// What of a cluster is to be copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// What changed since the backup before, where that can be done and the policy asks for it; otherwise all.
    #[default]
    AsDue,
    Full,
    /// What changed, or nothing.
    Incremental,
}

/// An earlier base backup of the source.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub manifest: Manifest,
    /// What a restore of it needs, the full one first and itself last; or why it cannot be built on, in words
    /// that follow its id.
    pub chain: Result<Vec<Manifest>, String>,
    /// PostgreSQL's list of its files.
    pub list: PathBuf,
}

/// What a base backup may build on.
#[derive(Clone, Debug, Default)]
pub struct Ancestry {
    pub extent: Extent,
    /// How many may build on a full one; 0: the policy asks for full ones only.
    pub most: u32,
    /// The newest first.
    pub candidates: Vec<Candidate>,
    /// Where this one's list of files is kept, for the next.
    pub keep: Option<PathBuf>,
}

/// Why a base backup is a full one.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WhyFull {
    #[error(
        "the policy asks for none (`incrementals` of the source's `base` says how many may build on a full one)"
    )]
    NotAsked,
    #[error(
        "it is read from the data directory, and only a replication connection gives the changes (`through`)"
    )]
    Files,
    #[error("the server is of PostgreSQL {0}, and needs to be of {FIRST_MAJOR} or later")]
    Major(u32),
    #[error(
        "`summarize_wal` is off on the server: set it to `on` (`drctl wal configure` does), which takes no restart"
    )]
    NoSummaries,
    #[error("there is no base backup of this cluster before it")]
    First,
    #[error("the last full one has as many as the policy allows ({0})")]
    EnoughOfThem(u32),
    #[error("there is no full one of this cluster left to build on")]
    NoFull,
    #[error("{backup} cannot be built on: {why}")]
    Unfit { backup: BackupId, why: String },
    #[error("the server does not give the changes since {backup}: {words}")]
    Denied { backup: BackupId, words: String },
}

impl WhyFull {
    /// Whether nothing is amiss: it is simply time for one.
    fn is_due(&self) -> bool {
        matches!(self, Self::NotAsked | Self::Files | Self::First | Self::EnoughOfThem(_))
    }
}

/// What the next base backup builds on. Pure.
fn choose<'a>(
    ancestry: &'a Ancestry,
    server: &ServerFacts,
    summarizes: bool,
) -> Result<&'a Candidate, WhyFull> {
    if ancestry.most == 0 {
        return Err(WhyFull::NotAsked);
    }
    if server.major < FIRST_MAJOR {
        return Err(WhyFull::Major(server.major));
    }
    if !summarizes {
        return Err(WhyFull::NoSummaries);
    }
    let is_of_it = |candidate: &&Candidate| {
        candidate.manifest.server.as_ref().is_some_and(|of| {
            of.system_identifier.is_some()
                && of.system_identifier == server.system_identifier
                && of.major == server.major
        })
    };
    let own: Vec<&Candidate> = ancestry.candidates.iter().filter(is_of_it).collect();
    if own.is_empty() {
        return Err(WhyFull::First);
    }
    // Nothing is built on what is older than the newest full one: the changes since would only be more.
    let full = own.iter().position(|candidate| parent(&candidate.manifest).is_none());
    let full = full.ok_or(WhyFull::NoFull)?;
    let most = usize::try_from(ancestry.most).unwrap_or(usize::MAX);
    if full >= most {
        return Err(WhyFull::EnoughOfThem(ancestry.most));
    }
    let mut unfit = None;
    for candidate in &own[..=full] {
        match &candidate.chain {
            Ok(chain) if chain.len() <= most => return Ok(candidate),
            Ok(_) => {}
            Err(why) => {
                let (backup, why) = (candidate.manifest.id.clone(), why.clone());
                unfit.get_or_insert(WhyFull::Unfit { backup, why });
            }
        }
    }
    Err(unfit.unwrap_or(WhyFull::EnoughOfThem(ancestry.most)))
}

/// Begins a copy of the changes, or of everything where there is a reason to, which is told. Gives what it
/// builds on, the full one first; empty for a full one.
pub(super) async fn begin<'a>(
    prepared: &Prepared,
    tools: &Tools,
    ancestry: &'a Ancestry,
    events: &Events,
    stop: &CancellationToken,
) -> Result<(Begun, &'a [Manifest]), BaseError> {
    let chosen = match ancestry.extent {
        Extent::Full => None,
        Extent::AsDue | Extent::Incremental => {
            match choose(ancestry, &prepared.server, prepared.summarizes) {
                Ok(candidate) => candidate.chain.as_ref().ok().map(|chain| (candidate, chain)),
                Err(why) => full_because(prepared, ancestry, why, events)?,
            }
        }
    };
    if let Some((candidate, chain)) = chosen {
        match replication::begin(prepared, tools, Some(&candidate.list), stop).await {
            Ok(begun) => {
                events.notice(format!("copying what changed since {}", candidate.manifest.id));
                return Ok((begun, chain));
            }
            // The server has looked at what it is to build on, and has said no before anything was stored.
            Err(BaseError::Start { source: ProcessError::Failed { stderr, .. }, .. })
                if !stderr.is_empty() =>
            {
                let (backup, words) = (candidate.manifest.id.clone(), stderr.join(" "));
                full_because::<()>(prepared, ancestry, WhyFull::Denied { backup, words }, events)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok((replication::begin(prepared, tools, None, stop).await?, &[]))
}

/// Files are always copied whole.
pub(super) fn refuse_files(prepared: &Prepared, ancestry: &Ancestry) -> Result<(), BaseError> {
    match ancestry.extent {
        Extent::Incremental => Err(no_incremental(prepared, WhyFull::Files)),
        Extent::AsDue | Extent::Full => Ok(()),
    }
}

fn no_incremental(prepared: &Prepared, why: WhyFull) -> BaseError {
    BaseError::NoIncremental { server: prepared.parameters.to_string(), why }
}

/// Who asked for the changes in so many words is not given something else.
fn full_because<T>(
    prepared: &Prepared,
    ancestry: &Ancestry,
    why: WhyFull,
    events: &Events,
) -> Result<Option<T>, BaseError> {
    if ancestry.extent == Extent::Incremental {
        return Err(no_incremental(prepared, why));
    }
    match why {
        WhyFull::NotAsked => {}
        why if why.is_due() => events.notice(format!("taking a full base backup: {}", told(&why))),
        why => events
            .warning(format!("taking a full base backup in place of an incremental one: {}", told(&why))),
    }
    Ok(None)
}
