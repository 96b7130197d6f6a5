use async_trait::async_trait;

use crate::repository::Repositories;

/// What is kept of the repositories from run to run.
#[async_trait]
pub trait Memory: Send + Sync + std::fmt::Debug {
    /// The repositories with what is known of them.
    async fn recall(&self, repositories: Repositories) -> Repositories;

    /// Keeps that these are there.
    async fn keep(&self, repositories: &Repositories);
}

/// Nothing is kept.
#[async_trait]
impl Memory for () {
    async fn recall(&self, repositories: Repositories) -> Repositories {
        repositories
    }

    async fn keep(&self, _repositories: &Repositories) {}
}
