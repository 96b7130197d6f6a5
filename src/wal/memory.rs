use async_trait::async_trait;

use crate::repository::Repositories;

/// What is remembered of the repositories between runs.
#[async_trait]
pub trait Memory: Send + Sync + std::fmt::Debug {
    /// Returns the repositories with what is known of them.
    async fn recall(&self, repositories: Repositories) -> Repositories;

    /// Records that these exist.
    async fn keep(&self, repositories: &Repositories);
}

/// Remembers nothing.
#[async_trait]
impl Memory for () {
    async fn recall(&self, repositories: Repositories) -> Repositories {
        repositories
    }

    async fn keep(&self, _repositories: &Repositories) {}
}
