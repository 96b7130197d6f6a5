//! `drctl wal configure` with real servers: what it shows, what it sets, and that it works then.

use crate::support::Outcome;
use crate::support::postgres::{Cluster, ClusterOptions};
use crate::support::system::{Place, Run, System, until};

struct Fresh {
    system: System,
    cluster: Cluster,
    drctl: std::path::PathBuf,
}

impl Fresh {
    /// A cluster that nobody has set up for anything.
    async fn start(wal: &str, options: ClusterOptions) -> Outcome<Self> {
        let cluster = Cluster::start_with(options).await?;
        cluster.execute("postgres", &["CREATE ROLE backup LOGIN"]).await?;
        let system =
            System::new(&cluster.url_as("backup", "postgres"), &[Place::Directory, Place::Directory])?;
        let tools = cluster.programs().display();
        system.append(&format!(
            "tools = \"{tools}\"\nmethods = [\"base\", \"wal\"]\n\n[sources.database.wal]\n{wal}"
        ))?;
        let drctl = system.hand_to_server()?;
        Ok(Self { system, cluster, drctl })
    }

    /// As the server's user, who can run what is written into `archive_command`.
    async fn configure(&self, code: i32, arguments: &[&str]) -> Outcome<Run> {
        let mut command = std::process::Command::new(&self.drctl);
        command.args([&["wal", "configure"], arguments].concat()).current_dir("/");
        let output = tokio::process::Command::from(command).output().await?;
        let run = Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        };
        if run.code == Some(code) { Ok(run) } else { Err(format!("{arguments:?}: {run:#?}").into()) }
    }

    async fn shown(&self, name: &str) -> Outcome<String> {
        self.cluster.text("postgres", &format!("current_setting('{name}')")).await
    }
}

fn states(run: &Run) -> Outcome<Vec<(String, String)>> {
    let document = run.document()?;
    let findings = document["findings"].as_array().ok_or("no findings")?;
    let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let open = findings.iter().filter(|finding| finding["state"] != "fine");
    Ok(open.map(|finding| (word(&finding["name"]), word(&finding["state"]))).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_server_is_told_what_it_lacks_and_archives_after_apply_and_a_restart() -> Outcome<()> {
    let mut fresh = Fresh::start("", ClusterOptions::new(15)).await?;
    let run = fresh.configure(3, &["--as", "postgres"]).await?;
    for words in [
        "archive_mode: `off`",
        "ALTER SYSTEM SET archive_mode = 'on';",
        "takes effect after a restart of the server",
        "ALTER SYSTEM SET archive_timeout = '300';",
        "GRANT pg_monitor TO \"backup\";",
        "ALTER ROLE \"backup\" REPLICATION;",
    ] {
        run.says(words)?;
    }
    run.says(&format!("--policy {} wal push %p", fresh.system.policy().display()))?;
    assert_eq!(fresh.shown("archive_timeout").await?, "0", "it was only looked at");

    // A role that may not is told so, statement by statement.
    let refused = fresh.configure(3, &["--apply"]).await?;
    refused.says("refused")?.says("permission denied to set parameter \"archive_mode\"")?;
    assert_eq!(fresh.shown("archive_timeout").await?, "0");

    let applied = fresh.configure(3, &["--as", "postgres", "--apply", "--output", "json"]).await?;
    assert_eq!(states(&applied)?, [("archive_mode".to_owned(), "waits-for-restart".to_owned())]);
    assert_eq!(applied.document()?["waits_for_restart"], serde_json::json!(["archive_mode"]));
    assert_eq!(fresh.shown("archive_timeout").await?, "5min");

    fresh.cluster.kill();
    let before = fresh.cluster.url_as("backup", "postgres");
    fresh.cluster.begin_again()?;
    fresh.system.rewrite(&before, &fresh.cluster.url_as("backup", "postgres"))?;
    let run = fresh.configure(0, &[]).await?;
    run.says("Nothing is missing.")?;
    // With nothing to do, nothing is done.
    let again = fresh.configure(0, &["--apply", "--output", "json"]).await?;
    assert_eq!(again.document()?["applied"], serde_json::json!([]));

    // And the server archives with the very line.
    let _owned = fresh.system.hand_to_server()?;
    let segment = fresh.cluster.text("postgres", "SELECT pg_walfile_name(pg_current_wal_lsn())").await?;
    fresh.cluster.execute("postgres", &["CREATE TABLE t (n int)", "SELECT pg_switch_wal()"]).await?;
    for repository in ["primary", "west"] {
        let folder = fresh.system.repository(repository);
        let is_there = || {
            let files = crate::support::system::contents(&folder).unwrap_or_default();
            files.keys().any(|path| path.display().to_string().contains(&segment))
        };
        until("the segment is archived", is_there)
            .await
            .map_err(|error| format!("{error}: {}", fresh.cluster.log_tail()))?;
    }
    let doctor = fresh.system.drctl(&["doctor", "--all"]).await?;
    doctor.says("the server is configured to archive WAL")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_someone_else_is_replaced_only_when_told() -> Outcome<()> {
    let foreign = "cp %p /nowhere/%f";
    let options = ClusterOptions::new(15)
        .setting("archive_mode", "on")
        .setting("archive_command", foreign)
        .setting("archive_timeout", "60");
    let fresh = Fresh::start("", options).await?;
    fresh.cluster.execute("postgres", &["ALTER ROLE backup REPLICATION"]).await?;
    fresh.configure(3, &["--as", "postgres"]).await?.says("foreign")?.says("--apply --replace")?;
    let run = fresh.configure(3, &["--as", "postgres", "--apply", "--output", "json"]).await?;
    assert_eq!(states(&run)?, [("archive_command".to_owned(), "foreign".to_owned())]);
    assert_eq!(fresh.shown("archive_command").await?, foreign);
    // The doctor has the same to say.
    let doctor = fresh.system.drctl(&["doctor"]).await?;
    doctor.says("archive_command: `cp %p /nowhere/%f`")?;
    fresh.configure(0, &["--as", "postgres", "--apply", "--replace"]).await?;
    assert!(fresh.shown("archive_command").await?.contains(" wal push %p"));
    fresh.configure(2, &["--replace"]).await?;
    Ok(())
}

/// What it says succeeds is removed by the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_archives_nothing_or_elsewhere_is_told_and_mended() -> Outcome<()> {
    let options = ClusterOptions::new(15)
        .setting("archive_mode", "on")
        .setting("archive_command", "/bin/true")
        .setting("archive_timeout", "60");
    let fresh = Fresh::start("", options).await?;
    fresh
        .cluster
        .execute("postgres", &["ALTER ROLE backup REPLICATION", "GRANT pg_monitor TO backup"])
        .await?;
    let (drctl, policy) = (fresh.drctl.display(), fresh.system.policy());
    let other = fresh.system.path().join("other.toml");
    let text = std::fs::read_to_string(&policy)?;
    std::fs::write(&other, text.replace("/west\"", "/elsewhere\""))?;
    let push = format!("{drctl} --policy {} wal push %p", policy.display());
    let path = other.display();
    for (command, state, words) in [
        (format!("{push} || true"), "missing", "`|| true` hides the exit status of `drctl wal push`"),
        (format!("echo {push}"), "missing", "names drctl and does not run `drctl wal push`"),
        (format!("/nonexistent{push}"), "missing", "does not exist on this host"),
        (push.replace("push %p", "push ledger %p"), "missing", "archives as source `ledger`"),
        (format!("{drctl} --policy {path} wal push %p"), "foreign", "which uses another policy"),
    ] {
        let set = format!("ALTER SYSTEM SET archive_command = '{command}'");
        fresh.cluster.execute("postgres", &[&set, "SELECT pg_reload_conf()"]).await?;
        while fresh.shown("archive_command").await? != command {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let run = fresh.configure(3, &["--output", "json"]).await?;
        assert_eq!(states(&run)?, [("archive_command".to_owned(), state.to_owned())], "{command}: {run:#?}");
        let doctor = fresh.system.drctl(&["doctor"]).await?;
        assert_eq!(doctor.code, Some(1), "{command}: {doctor:#?}");
        doctor.says(words)?;
    }

    // What the server reported as archived until now is nowhere, whatever its command seems to be.
    fresh
        .cluster
        .execute("postgres", &["ALTER SYSTEM SET archive_command = '/bin/true'", "SELECT pg_reload_conf()"])
        .await?;
    fresh.cluster.execute("postgres", &["CREATE TABLE t (n int)", "SELECT pg_switch_wal()"]).await?;
    let archived = "SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver";
    while fresh.cluster.text("postgres", archived).await?.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let doctor = fresh.system.drctl(&["doctor"]).await?;
    doctor.says("no repository has any WAL of it")?.says("archives nothing and reports success")?;

    fresh.configure(0, &["--as", "postgres", "--apply"]).await?.says(" wal push %p")?;
    let doctor = fresh.system.drctl(&["doctor", "--all"]).await?;
    doctor.says("the server is configured to archive WAL")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_given_its_slot_and_the_line_that_lets_it_in() -> Outcome<()> {
    let options = ClusterOptions::new(15).setting("password_encryption", "scram-sha-256");
    let fresh = Fresh::start("method = \"stream\"\nslot = \"drctl_shop\"", options).await?;
    let hba = fresh.cluster.data().join("pg_hba.conf");
    let lines = std::fs::read_to_string(&hba)?;
    let ours: Vec<_> = lines.lines().filter(|line| !line.contains("replication")).collect();
    std::fs::write(&hba, ours.join("\n") + "\n")?;
    fresh.cluster.execute("postgres", &["SELECT pg_reload_conf()"]).await?;
    let run = fresh.configure(3, &["--as", "postgres", "--apply"]).await?;
    run.says("SELECT pg_create_physical_replication_slot('drctl_shop', true);")?;
    run.says("host replication backup 127.0.0.1/32 scram-sha-256")?.says("no pg_hba.conf entry")?;
    run.says(&hba.display().to_string())?;
    let slot = "SELECT slot_type FROM pg_replication_slots WHERE slot_name = 'drctl_shop'";
    assert_eq!(fresh.cluster.text("postgres", slot).await?, "physical");
    assert_eq!(fresh.shown("max_slot_wal_keep_size").await?, "10GB");
    assert_eq!(fresh.shown("archive_mode").await?, "off", "a stream needs none");

    // Once it is written, and before it is read.
    std::fs::write(&hba, ours.join("\n") + "\nhost replication backup 127.0.0.1/32 trust\n")?;
    fresh.configure(3, &["--as", "postgres"]).await?.says("may already be it after a reload")?;
    fresh.cluster.execute("postgres", &["SELECT pg_reload_conf()"]).await?;
    fresh.configure(0, &[]).await?.says("start `drctl wal stream`")?;
    Ok(())
}
