use std::fmt;

use thiserror::Error;

use super::state::StateError;
use crate::model::{Cause, SourceName};
use crate::restore::content::ContentRestoreError;
use crate::restore::logical::{DestinationError, DumpRestoreError};
use crate::restore::physical::PhysicalRestoreError;
use crate::restore::{Refusal, RestoreError as _};

/// Why an application is not restored. Nothing was touched.
#[derive(Debug, Error)]
pub enum ApplicationError {
    #[error("refused, and nothing was touched: {}", crate::text::bullet_list(.0))]
    Refused(Vec<Refusal>),
    #[error("refused, and nothing was touched:{}", listed(.0))]
    Members(Vec<MemberRefused>),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("interrupted")]
    Interrupted,
}

fn listed(refused: &[MemberRefused]) -> String {
    refused.iter().map(|refused| format!("\n  - {refused}")).collect()
}

/// Why one member cannot be restored.
#[derive(Debug)]
pub struct MemberRefused {
    pub source: SourceName,
    pub error: MemberError,
}

/// The error of a member's own method.
#[derive(Debug)]
pub enum MemberError {
    Dump(DumpRestoreError),
    Cluster(PhysicalRestoreError),
    Content(ContentRestoreError),
    /// It is not said well where it goes.
    Destination(DestinationError),
    Refused(Refusal),
}

impl MemberError {
    pub fn refusals(&self) -> &[Refusal] {
        match self {
            Self::Dump(error) => error.refusals(),
            Self::Cluster(error) => error.refusals(),
            Self::Content(error) => error.refusals(),
            Self::Refused(refusal) => std::slice::from_ref(refusal),
            Self::Destination(_) => &[],
        }
    }

    pub fn is_interruption(&self) -> bool {
        match self {
            Self::Dump(error) => error.is_interruption(),
            Self::Cluster(error) => error.is_interruption(),
            Self::Content(error) => error.is_interruption(),
            Self::Destination(_) | Self::Refused(_) => false,
        }
    }

    pub fn cause(&self) -> Cause {
        match self {
            Self::Dump(error) => error.cause_class(),
            Self::Cluster(error) => error.cause_class(),
            Self::Content(error) => error.cause_class(),
            Self::Destination(_) => Cause::Environment,
            Self::Refused(refusal) => refusal.class.cause(),
        }
    }

    pub(super) fn chain(&self) -> String {
        use crate::text::error_chain;
        match self {
            Self::Dump(error) => error_chain(error),
            Self::Cluster(error) => error_chain(error),
            Self::Content(error) => error_chain(error),
            Self::Destination(error) => error_chain(error),
            Self::Refused(refusal) => refusal.to_string(),
        }
    }
}

impl fmt::Display for MemberRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error.refusals() {
            [] => write!(f, "{}: {}", self.source, self.error.chain()),
            refusals => {
                let all: Vec<_> = refusals.iter().map(ToString::to_string).collect();
                write!(f, "{}: {}", self.source, all.join("; "))
            }
        }
    }
}
