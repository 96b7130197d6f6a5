//! An S3 server over a directory, by `s3s-fs`: real signatures and checksums, each bucket a folder.

use std::path::Path;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;

pub(crate) const ACCESS_KEY: &str = "AKIATEST";
pub(crate) const SECRET_KEY: &str = "secrettest";

/// Serves until it is dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    root: &Path,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let files = s3s_fs::FileSystem::new(root).map_err(|error| format!("{error:?}"))?;
    let mut service = S3ServiceBuilder::new(files);
    service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = service.build();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await?;
        // As a real one: else the end of each answer waits until the client acknowledged its beginning.
        socket.set_nodelay(true)?;
        let service = service.clone();
        connections.spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            // A client that goes away is its own business.
            let _served = builder.serve_connection(TokioIo::new(socket), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}
