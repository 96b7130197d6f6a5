//! Amazon RDS as a client sees it, over HTTP, with real PostgreSQL servers behind it.
//!
//! Owns: the wire (Query protocol, XML, RDS's error codes), regions that know nothing of each other, the
//! statuses things go through, and the defaults RDS gives to a restore that says nothing. A snapshot is a
//! copy of a volume at one moment, a restore is a server started from it, an automated backup is archived log.
//!
//! *Invariants.* Nothing is answered as done that was not: a parameter this double does not know is an
//! error, not ignored. Where AWS's own behaviour differs from what one would wish (tags that a copy loses, a
//! security group that lets nobody in), it is AWS's that is done.
//!
//! Where a test has doors put before its servers ([`RdsServer::put_doors`]), they speak TLS and take tokens of IAM, each of
//! them verified as RDS does.
//!
//! *Not here.* Signatures of calls are not verified, and endpoints are `127.0.0.1` with a port of their own whatever
//! port was asked for. Volumes are not encrypted: keys are compared, not used. All instances of a cluster are
//! one server, and replicas of an instance, proxies, exports and blue/green deployments do not exist.
#![allow(unused_imports, reason = "each test binary uses another part of it")]

mod account;
mod archive;
mod authority;
mod backups;
mod catalog;
mod cluster_restores;
mod cluster_snapshots;
mod cluster_state;
mod cluster_xml;
mod clusters;
mod copies;
mod error;
mod form;
mod front;
mod groups;
mod http;
mod instance_xml;
mod instances;
mod kms;
mod machine;
mod modify;
mod orders;
mod pitr;
mod postgres;
mod reboot;
mod replication;
mod restores;
mod router;
mod script;
mod settings;
mod sharing;
mod snapshot_xml;
mod snapshots;
mod state;
mod storage;
mod tags;
mod token;
mod world;
mod xml;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::Outcome;
use script::Script;
use state::State;
use storage::Storage;

pub(crate) use authority::ALIAS;
pub(crate) use cluster_state::Cluster;
pub(crate) use machine::Timing;
pub(crate) use script::{Fault, Gone, When};
pub(crate) use settings::{DEFAULT_SECURITY_GROUP, Settings, key};
pub(crate) use state::{ACCOUNT, Call, Instance, Quotas, Snapshot, Tags, arn};

/// The PostgreSQL every instance runs.
const MAJOR: u32 = 15;

/// The control plane. Dropping it ends every server and deletes every volume and snapshot.
pub(crate) struct RdsServer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

type Turn = Arc<tokio::sync::Mutex<()>>;

/// What calls, jobs and the test work on.
struct Shared {
    state: Mutex<State>,
    script: Mutex<Script>,
    timing: Timing,
    storage: Arc<Storage>,
    authority: authority::Authority,
    jobs: Mutex<JoinSet<()>>,
    /// Copies of one source instance into one region wait for each other.
    copying: Mutex<BTreeMap<(String, String), Turn>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RdsServer {
    pub(crate) async fn start() -> Outcome<Self> {
        Self::start_with(Timing::default()).await
    }

    pub(crate) async fn start_with(timing: Timing) -> Outcome<Self> {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await?, timing)
    }

    pub(crate) fn start_on(listener: TcpListener, timing: Timing) -> Outcome<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            script: Mutex::default(),
            timing,
            storage: Storage::new(MAJOR)?,
            authority: authority::Authority::new()?,
            jobs: Mutex::default(),
            copying: Mutex::default(),
        });
        let address = listener.local_addr()?;
        let serving = tokio::spawn(http::serve(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, serving })
    }

    /// A client of the SDK for one region.
    pub(crate) fn client(&self, region: &str) -> aws_sdk_rds::Client {
        use aws_sdk_rds::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
        let retries = RetryConfig::standard().with_initial_backoff(std::time::Duration::from_millis(5));
        let config = aws_sdk_rds::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .retry_config(retries)
            .endpoint_url(self.url());
        aws_sdk_rds::Client::from_conf(config.build())
    }

    /// What `AWS_ENDPOINT_URL_RDS`, `…_STS` and `…_IAM` are to be set to.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for RdsServer {
    fn drop(&mut self) {
        self.serving.abort();
        self.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        // A connection that is still open must not keep servers running.
        self.shared.state().regions.clear();
    }
}
