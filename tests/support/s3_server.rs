//! The in-process S3 server of the tests as a process of its own, to be killed and measured:
//! `cargo run --example s3-server -- DIRECTORY [PORT]`. Prints its port, then serves.
#![expect(clippy::print_stdout, reason = "whoever started it reads the port there")]

use std::error::Error;
use std::io::Write as _;

mod s3_serve;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = std::env::args_os().skip(1);
    let root = arguments.next().ok_or("s3-server DIRECTORY [PORT]")?;
    let port = match arguments.next() {
        Some(port) => port.to_str().ok_or("the port is not a number")?.parse()?,
        None => 0,
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    s3_serve::serve(listener, root.as_ref()).await
}
