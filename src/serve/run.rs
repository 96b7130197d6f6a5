use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use tokio::net::TcpListener;

use super::answer::answer;
use super::connections::Connections;
use super::site::Site;
use crate::platform::CancellationToken;

/// Answers requests until it is cancelled.
///
/// # Errors
/// The listener failed.
pub async fn serve(listener: TcpListener, site: Arc<Site>, cancel: CancellationToken) -> io::Result<()> {
    let router = Router::new().fallback(handle).with_state(site);
    let serving = axum::serve(Connections::new(listener), router);
    // A client that keeps its connection open must not keep the server from ending.
    tokio::select! {
        ended = async { serving.await } => ended,
        () = cancel.cancelled() => Ok(()),
    }
}

async fn handle(State(site): State<Arc<Site>>, request: Request) -> impl IntoResponse {
    answer(request.method(), request.uri(), request.headers(), &site)
}
