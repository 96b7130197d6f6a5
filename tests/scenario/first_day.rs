//! From nothing to a backup that both keys are proven to open, with drctl's own words only.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::Outcome;
use crate::support::postgres::{Cluster, ClusterOptions};
use crate::support::system::{Place, System};

struct Host<'a> {
    folder: &'a Path,
    password: &'a str,
}

impl Host<'_> {
    fn drctl(&self, arguments: &[&str]) -> Outcome<Output> {
        Ok(Command::new(env!("CARGO_BIN_EXE_drctl"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder)
            .env("DRCTL_STATE_DIR", self.folder.join("state"))
            .env("SHOP_PASSWORD", self.password)
            .current_dir(self.folder)
            .args(arguments)
            .stdin(Stdio::null())
            .output()?)
    }

    /// Stdout and stderr of a run that must end so.
    fn expect(&self, code: i32, arguments: &[&str]) -> Outcome<String> {
        let output = self.drctl(arguments)?;
        let text = String::from_utf8([output.stdout, output.stderr].concat())?;
        if output.status.code() == Some(code) {
            Ok(text)
        } else {
            Err(format!("drctl {arguments:?}: {}\n{text}", output.status).into())
        }
    }
}

#[tokio::test]
async fn init_then_backup_then_both_keys_open_it_and_another_does_not() -> Outcome<()> {
    let cluster = Cluster::start_with(ClusterOptions::new(15).scram("correct horse")).await?;
    cluster.execute("postgres", &["CREATE DATABASE shop"]).await?;
    cluster.execute("shop", &["CREATE TABLE users AS SELECT generate_series(1, 10) AS id"]).await?;
    let folder = crate::support::scratch::folder()?;
    for name in ["host", "safe"] {
        std::fs::create_dir(folder.path().join(name))?;
    }
    let host = Host { folder: folder.path(), password: "correct horse" };
    let url = cluster.url("shop");
    let mut init = vec!["init", "--system", "shop", "--database", &url, "--password", "env:SHOP_PASSWORD"];
    init.extend(["--primary", "primary", "--copy", "west"]);
    init.extend(["--operational", "host/op.key", "--escrow", "safe/escrow.key"]);

    let wrong = Host { password: "wrong", ..host };
    let refused = wrong.expect(1, &init)?;
    assert!(refused.contains("password authentication failed"), "{refused}");
    assert!(!folder.path().join("drctl.toml").exists() && !folder.path().join("host/op.key").exists());

    let said = host.expect(0, &init)?;
    assert!(said.contains("Found shop: PostgreSQL 15"), "{said}");
    let policy = std::fs::read_to_string(folder.path().join("drctl.toml"))?;
    assert!(!policy.contains("correct horse"), "{policy}");
    host.expect(0, &["policy", "check"])?;
    let nothing = host.expect(10, &["keys", "check", "-i", "host/op.key"])?;
    assert!(nothing.contains("there is no backup to open"), "{nothing}");

    assert!(said.contains("make the directory"), "a repository is never made by itself: {said}");
    for name in ["primary", "west"] {
        std::fs::create_dir(folder.path().join(name))?;
    }
    host.expect(0, &["backup"])?;
    let proven = host.expect(0, &["keys", "check", "-i", "host/op.key", "-i", "safe/escrow.key"])?;
    for path in ["host/op.key opens", "safe/escrow.key opens"] {
        assert!(proven.contains(path), "{proven}");
    }
    let copy = host.expect(0, &["keys", "check", "-i", "safe/escrow.key", "--from", "offsite"])?;
    assert!(copy.contains("in offsite"), "{copy}");

    let others = ["--operational", "host/other.key", "--escrow", "safe/other.key"];
    host.expect(0, &[["keys", "generate"].as_slice(), &others].concat())?;
    let refused = host.expect(12, &["keys", "check", "-i", "safe/other.key", "-i", "host/op.key"])?;
    assert!(refused.contains("safe/other.key does not open"), "{refused}");
    assert!(refused.contains("host/op.key opens"), "each is tried alone: {refused}");
    Ok(())
}

#[tokio::test]
async fn what_will_fail_at_a_restore_is_found_on_the_first_day() -> Outcome<()> {
    let cluster = Cluster::start(15).await?;
    let role = ["CREATE ROLE backup LOGIN", "GRANT pg_read_all_data TO backup", "CREATE DATABASE shop"];
    cluster.execute("postgres", &role).await?;
    let mut system = System::new(&cluster.url_as("backup", "shop"), &[Place::Directory, Place::Directory])?;
    let found = system.expect(3, &["doctor"]).await?;
    found.says("`backup` may not create databases: `drctl restore")?;
    found.says("ALTER ROLE \"backup\" CREATEDB")?;
    system.expect(0, &["backup"]).await?;
    let operational = system.operational.display().to_string();
    let restore = ["restore", "--to", "again", "--no-owner", "-i", &operational];
    system.expect(1, &restore).await?.says("may not create databases")?;

    cluster.execute("postgres", &["ALTER ROLE backup CREATEDB"]).await?;
    let found = system.expect(3, &["doctor", "--all"]).await?;
    assert!(!found.stdout.contains("may not create databases"), "{found:?}");
    found.says("`backup` is not a member of the database's owner `postgres`")?;
    system.expect(0, &restore).await?;

    system.set("DRCTL_STATE_DIR", "/proc/1/none");
    let found = system.expect(3, &["doctor"]).await?;
    found.says("the state directory `/proc/1/none` is not writable")?;
    Ok(())
}
