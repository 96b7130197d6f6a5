use std::error::Error;
use std::sync::Arc;

use crate::model::RepositoryName;
use crate::store::Store;

/// A store and its name in the policy.
#[derive(Clone, Debug)]
pub struct Repository {
    pub name: RepositoryName,
    pub store: Arc<dyn Store>,
}

/// A repository that cannot be used in this run, and why.
#[derive(Clone, Debug)]
pub struct Unavailable {
    pub name: RepositoryName,
    pub error: Arc<dyn Error + Send + Sync>,
}

impl Unavailable {
    pub fn new(repository: &Repository, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { name: repository.name.clone(), error: Arc::from(error.into()) }
    }

    /// Returns the whole error chain in one line.
    pub fn reason(&self) -> String {
        crate::text::error_chain(&*self.error)
    }

    /// Lists the reasons, to be appended to an error message.
    pub fn reasons(lost: &[Self]) -> String {
        lost.iter().map(|lost| format!("; `{}`: {}", lost.name, lost.reason())).collect()
    }
}
