//! What a survey finds.

use crate::model::{Details, Manifest, RepositoryName};
use crate::restore::Refusal;

/// What was found of the backup and of the target.
#[derive(Debug)]
pub struct ContentSurvey {
    /// The full backup first, the chosen one last.
    pub(super) chain: Vec<ChainLink>,
    pub(super) target: TargetSurvey,
}

/// A backup of a chain.
#[derive(Clone, Debug)]
pub(super) struct ChainLink {
    pub(super) manifest: Manifest,
    /// In the order they are to be read.
    pub(super) holders: Vec<RepositoryName>,
    /// What only key holders may read of it.
    pub(super) details: Details,
}

/// What was found of the target.
#[derive(Clone, Debug, Default)]
pub(super) struct TargetSurvey {
    /// Where to, as text: an absolute path, a URL without a password.
    pub(super) to: String,
    /// Every reason against it.
    pub(super) refusals: Vec<Refusal>,
    /// For the operator.
    pub(super) notes: Vec<String>,
}
