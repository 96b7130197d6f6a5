//! The RDS of the tests as a process of its own, to be tried by hand and measured:
//! `cargo run --example rds-server -- [PORT [REGION IDENTIFIER]]`. Prints its port, then serves. With an
//! identifier there is an instance of that name, set up as production is.
//!
//! Instances end with it: end it with an interrupt (Ctrl-C), not with a kill.
#![expect(clippy::print_stdout, reason = "whoever started it reads the port there")]
#![allow(dead_code, reason = "it uses a part of what the tests use")]

use std::error::Error;
use std::io::Write as _;

mod cluster_template;
mod postgres;
mod rds;
mod scratch;
mod usage;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().map(|port| port.parse()).transpose()?.unwrap_or(0);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let server = rds::RdsServer::start_on(listener, rds::Timing::default())?;
    if let (Some(region), Some(id)) = (arguments.next(), arguments.next()) {
        server.instance(&region, &id, rds::Settings::production(&region)).await?;
    }
    println!("{}", server.address.port());
    std::io::stdout().flush()?;
    tokio::signal::ctrl_c().await?;
    Ok(())
}
