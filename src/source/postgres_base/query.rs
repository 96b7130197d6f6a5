use std::time::Duration;

use super::error::{BaseError, QUESTION_WITHIN};

/// Waits for the answer of a server, for at most a minute.
pub(super) async fn ask<T>(
    server: &str,
    asked: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, BaseError> {
    ask_within(QUESTION_WITHIN, server, asked).await
}

/// Waits for the answer of a server until the deadline.
pub(super) async fn ask_within<T>(
    deadline: Duration,
    server: &str,
    asked: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, BaseError> {
    match tokio::time::timeout(deadline, asked).await {
        Ok(answered) => answered.map_err(|source| BaseError::Question { server: server.to_owned(), source }),
        Err(_) => Err(BaseError::NoAnswer { server: server.to_owned() }),
    }
}
