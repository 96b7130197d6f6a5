//! Leases on each store: what is built on "if absent" and compare-and-swap.

use std::sync::Arc;
use std::time::Duration;

use drctl::model::RunId;
use drctl::platform::{CancellationToken, SystemClock};
use drctl::repository::lease::{Acquired, Lease, acquire};
use drctl::store::Store;
use drctl::store::directory::DirectoryStore;
use drctl::store::s3::S3Store;

use crate::support::Outcome;
use crate::support::fault_proxy::{Fault, FaultProxy, When};
use crate::support::radosgw;
use crate::support::s3::{BUCKET, Keys, S3Server};

/// Whole seconds: the clock of an S3 store has no finer.
const TTL: Duration = Duration::from_secs(3);
const KEY: &str = "shop/leases/db.json";

async fn take(store: &Arc<dyn Store>, host: u32, lost: &CancellationToken) -> Outcome<Option<Lease>> {
    let run = RunId::new("2026-11-20T22:02:51Z".parse()?, host);
    let (store, clock) = (Arc::clone(store), Arc::new(SystemClock));
    match acquire(store, KEY.into(), &run, "backup", TTL, clock, lost.clone()).await? {
        Acquired::Held(lease) => Ok(Some(lease)),
        Acquired::Busy(_) => Ok(None),
    }
}

async fn two_hosts(store: Arc<dyn Store>) -> Outcome<()> {
    let (one, two) = (CancellationToken::new(), CancellationToken::new());
    let lease = take(&store, 1, &one).await?.expect("it is free");
    // Longer than it lives without being renewed.
    tokio::time::sleep(TTL + Duration::from_secs(1)).await;
    assert!(take(&store, 2, &two).await?.is_none(), "its holder lives");
    lease.release().await;
    let lease = take(&store, 2, &two).await?.expect("it was given back");
    assert!(!one.is_cancelled() && !two.is_cancelled());
    // Killed: nobody gives it back, nobody renews it.
    drop(lease);
    take(&store, 1, &one).await?.expect("its holder is gone").release().await;
    Ok(())
}

#[tokio::test]
async fn in_a_directory() -> Outcome<()> {
    let root = crate::support::scratch::folder()?;
    two_hosts(Arc::new(DirectoryStore::create(root.path()).await?)).await
}

#[tokio::test]
async fn in_this_process() -> Outcome<()> {
    let server = S3Server::start().await?;
    let keys = server.place()?;
    two_hosts(Arc::new(S3Store::open(&keys.place).await?)).await
}

#[tokio::test]
async fn in_radosgw() -> Outcome<()> {
    let keys = radosgw::bucket("leases", false).await?;
    two_hosts(Arc::new(S3Store::open(&keys.place).await?)).await
}

/// A holder that is cut off from the store while another takes over must stop when it is back.
#[tokio::test]
async fn a_holder_that_lost_it_learns_of_it() -> Outcome<()> {
    let direct = radosgw::bucket("lost-lease", false).await?;
    let proxy = FaultProxy::to(tokio::task::spawn_blocking(radosgw::address).await??).await?;
    let cut_off = Keys::new(proxy.address, "lost-lease")?;
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let store: Arc<dyn Store> = Arc::new(S3Store::open(&cut_off.place).await?);
    let _lease = take(&store, 1, &first).await?.expect("it is free");
    proxy.fail(When::any(), Fault::Status(403, "AccessDenied"));
    let other: Arc<dyn Store> = Arc::new(S3Store::open(&direct.place).await?);
    let _second = take(&other, 2, &second).await?.expect("its holder is silent");
    assert!(!first.is_cancelled(), "it cannot know yet");
    proxy.heal();
    tokio::time::timeout(TTL * 3, first.cancelled()).await?;
    assert!(!second.is_cancelled());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_hosts_at_once_one_gets_it() -> Outcome<()> {
    let keys = radosgw::bucket("lease-race", false).await?;
    let store: Arc<dyn Store> = Arc::new(S3Store::open(&keys.place).await?);
    let racers = (0..6).map(|host| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { take(&store, host, &CancellationToken::new()).await })
    });
    let mut held = Vec::new();
    for outcome in futures_util::future::join_all(racers).await {
        held.extend(outcome??);
    }
    assert_eq!(held.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_renewal_whose_answer_is_lost_keeps_it() -> Outcome<()> {
    let server = S3Server::start().await?;
    let proxy = FaultProxy::to(server.address).await?;
    let keys = Keys::new(proxy.address, BUCKET)?;
    let store: Arc<dyn Store> = Arc::new(S3Store::open(&keys.place).await?);
    let lost = CancellationToken::new();
    let lease = take(&store, 1, &lost).await?.expect("it is free");
    for call in 0..20 {
        proxy.fail(When::method("PUT").after(call).times(1), Fault::DropAnswer);
    }
    tokio::time::sleep(TTL * 2).await;
    assert!(!lost.is_cancelled());
    proxy.heal();
    lease.release().await;
    Ok(())
}
