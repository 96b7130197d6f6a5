//! The README's first day, typed as it stands there, in the shells that people have.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::Outcome;
use crate::support::postgres::{Cluster, ClusterOptions};
use crate::support::s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};

const README: &str = include_str!("../../README.md");
/// Each with what keeps it from reading somebody's own settings.
const SHELLS: [(&str, &[&str]); 3] =
    [("bash", &["--norc", "--noprofile"]), ("zsh", &["-f"]), ("fish", &["--no-config"])];
/// Lines that are not typed here: they put programs onto the machine.
const INSTALLS: [&str; 2] = ["sudo ", "cargo "];
/// What does not end with 0 on the first day, as the README says.
const STATUSES: [(&str, i32); 1] = [("drctl doctor", 3)];

/// The text of a section, by its heading.
fn section(heading: &str) -> &'static str {
    let (_, rest) = README.split_once(&format!("\n## {heading}\n")).unwrap_or_default();
    rest.split("\n## ").next().unwrap_or_default()
}

/// The blocks in this language, in order.
fn blocks(section: &str, language: &str) -> Vec<String> {
    let mut rest = section;
    let mut blocks = Vec::new();
    while let Some((_, after)) = rest.split_once(&format!("```{language}\n")) {
        let (block, after) = after.split_once("```").unwrap_or((after, ""));
        blocks.push(block.to_owned());
        rest = after;
    }
    blocks
}

fn typed(section: &str) -> Vec<String> {
    let lines = blocks(section, "sh").concat();
    let is_typed = |line: &&str| !line.is_empty() && !INSTALLS.iter().any(|word| line.starts_with(word));
    lines.lines().filter(is_typed).map(str::to_owned).collect()
}

/// A machine with nothing on it but drctl and PostgreSQL's client programs, and the places that the README names.
struct Machine<'a> {
    folder: tempfile::TempDir,
    cluster: &'a Cluster,
    stores: [S3Server; 2],
}

impl<'a> Machine<'a> {
    async fn new(cluster: &'a Cluster) -> Outcome<Self> {
        let folder = crate::support::scratch::folder()?;
        for name in ["home", "usb", "etc", "work"] {
            std::fs::create_dir(folder.path().join(name))?;
        }
        Ok(Self { folder, cluster, stores: [S3Server::start().await?, S3Server::start().await?] })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts this machine's places where the README has others; nothing else of a line is touched.
    fn here(&self, line: &str) -> String {
        let [east, west] = self.stores.each_ref().map(|store| store.address);
        let usb = self.path("usb").display().to_string();
        let etc = self.path("etc").display().to_string();
        [
            ("db.internal", format!("127.0.0.1:{}", self.cluster.port())),
            ("sslmode=verify-full", "sslmode=disable".to_owned()),
            ("s3://shop-backups/drctl", format!("s3://{BUCKET}/drctl --endpoint http://{east}")),
            ("s3://shop-backups-west/drctl", format!("s3://{BUCKET}/drctl --copy-endpoint http://{west}")),
            ("/media/usb", usb),
            ("/etc/drctl", etc),
        ]
        .into_iter()
        .fold(line.to_owned(), |line, (theirs, ours)| line.replace(theirs, &ours))
    }

    fn command(&self, program: &str) -> Outcome<Command> {
        let drctl = Path::new(env!("CARGO_BIN_EXE_drctl")).parent().ok_or("no folder")?;
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", drctl.display()))
            .env("HOME", self.path("home"))
            .env("DRCTL_STATE_DIR", self.path("state"))
            .env("TMPDIR", self.folder.path())
            .current_dir(self.path("work"))
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Types one line into a shell in which others were typed before.
    async fn typed(&self, shell: (&str, &[&str]), before: &str, line: &str) -> Outcome<Output> {
        let mut command = self.command(shell.0)?;
        command.args(shell.1).arg("-c").arg(format!("{before}{line}"));
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        Ok(tokio::process::Command::from(command).output().await?)
    }

    /// As cron runs a line.
    async fn cron(&self, path: &str, line: &str) -> Outcome<(Option<i32>, String)> {
        let mut command = self.command("/bin/sh")?;
        command.env("PATH", path).env_remove("TMPDIR").arg("-c").arg(line);
        let output = tokio::process::Command::from(command).output().await?;
        Ok((output.status.code(), String::from_utf8([output.stdout, output.stderr].concat())?))
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// The superuser's block, as `psql` takes it.
async fn make_role(cluster: &Cluster, folder: &Path) -> Outcome<()> {
    let statements = blocks(section("Five minutes"), "sql").concat();
    let file = folder.join("role.sql");
    std::fs::write(&file, statements)?;
    let mut command = tokio::process::Command::new(cluster.programs().join("psql"));
    command.args(["--host=127.0.0.1", "--username=postgres", "--dbname=shop", "--no-psqlrc", "--quiet"]);
    command.arg(format!("--port={}", cluster.port())).args(["--set=ON_ERROR_STOP=1", "--file"]).arg(&file);
    let output = command.env("PGPASSWORD", "postgres' own").output().await?;
    if output.status.success() { Ok(()) } else { Err(told(&output).into()) }
}

async fn start() -> Outcome<Cluster> {
    let cluster = Cluster::start_with(ClusterOptions::new(15).scram("postgres' own")).await?;
    cluster.execute("postgres", &["CREATE ROLE shop_owner", "CREATE DATABASE shop OWNER shop_owner"]).await?;
    // What a role that may read everything still may not: rows that row security hides.
    let tables = [
        "SET ROLE shop_owner",
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant text)",
        "INSERT INTO shop.orders (tenant) SELECT 'tenant ' || n % 5 FROM generate_series(1, 100) n",
        "ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY own ON shop.orders USING (tenant = current_user)",
    ];
    cluster.execute("shop", &[tables.join("; ").as_str()]).await?;
    Ok(cluster)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_day_runs_as_it_is_typed_in_every_shell() -> Outcome<()> {
    let cluster = start().await?;
    let lines = typed(section("Five minutes"));
    assert!(lines.len() > 8, "{lines:?}");
    for shell in SHELLS {
        let machine = Machine::new(&cluster).await?;
        make_role(&cluster, machine.folder.path()).await?;
        let mut before = String::new();
        for line in &lines {
            let here = machine.here(line);
            let output = machine.typed(shell, &before, &here).await?;
            let expected = STATUSES.iter().find(|(known, _)| known == line).map_or(0, |(_, status)| *status);
            let said = told(&output);
            assert_eq!(output.status.code(), Some(expected), "{} `{here}`:\n{said}", shell.0);
            if line.starts_with("export ") {
                writeln!(before, "{here}")?;
            }
        }
        let rows = cluster.text("shop_restored", "(SELECT count(*) FROM shop.orders)").await?;
        assert_eq!(rows, "100", "{}", shell.0);
        if shell.0 == "bash" {
            every_hour(&machine).await?;
            for line in typed(section("Day two")) {
                let here = machine.here(&line);
                let output = machine.typed(shell, &before, &here).await?;
                assert!(output.status.success(), "`{here}`:\n{}", told(&output));
            }
        }
        cluster.execute("postgres", &["DROP DATABASE shop_restored"]).await?;
        cluster.execute("shop", &["DROP OWNED BY drctl"]).await?;
        cluster.execute("postgres", &["DROP OWNED BY drctl", "DROP ROLE drctl"]).await?;
    }
    Ok(())
}

/// The crontab of the README, on the machine where its policy was written.
async fn every_hour(machine: &Machine<'_>) -> Outcome<()> {
    let section = section("Every hour");
    let policy = machine.path("etc").join("policy.toml");
    std::fs::copy(machine.path("work").join("drctl.toml"), &policy)?;
    let file = machine.path("etc").join("env");
    let secrets = blocks(section, "env").concat();
    let secrets =
        secrets.replace("'AKIA…'", &format!("'{ACCESS_KEY}'")).replace("'…'", &format!("'{SECRET_KEY}'"));
    std::fs::write(&file, secrets)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
    let crontab = blocks(section, "crontab").concat();
    let variable = |name: &str| crontab.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let drctl = Path::new(env!("CARGO_BIN_EXE_drctl")).parent().ok_or("no folder")?.display().to_string();
    // Where the README installs drctl is not where the build put it.
    let path = variable("PATH").ok_or("no PATH")?.replace("/usr/local/bin", &drctl);
    let command = |line: &str| {
        // Five fields of time, and the user.
        let (_, command) = (0..6).fold(("", line), |(_, rest), _| {
            rest.trim_start().split_once(char::is_whitespace).unwrap_or(("", ""))
        });
        machine.here(command.trim_start())
    };
    let lines: Vec<String> = crontab.lines().filter(|line| line.contains(" drctl ")).map(command).collect();
    assert_eq!(lines.len(), 2, "{crontab}");
    for line in &lines {
        let (status, said) = machine.cron(&path, line).await?;
        assert_eq!((status, said.as_str()), (Some(0), ""), "{line}");
    }
    // A password that was changed is a mail that says so.
    machine.cluster.execute("postgres", &["ALTER ROLE drctl PASSWORD 'another'"]).await?;
    let backup = lines[0].replace(" run-due ", " backup ");
    let (status, said) = machine.cron(&path, &backup).await?;
    machine.cluster.execute("postgres", &["ALTER ROLE drctl PASSWORD 'a long random one'"]).await?;
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("error: database failed") && said.contains("password authentication failed"),
        "{said}"
    );
    Ok(())
}

/// What a shell makes of a line, word by word.
async fn words(shell: (&str, &[&str]), home: &Path, line: &str) -> Outcome<Vec<String>> {
    let mut command = tokio::process::Command::new(shell.0);
    let shown = line.replacen("drctl ", "printf '%s\\n' ", 1);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home).current_dir(home);
    let output = command.args(shell.1).arg("-c").arg(&shown).output().await?;
    if !output.status.success() {
        return Err(format!("{} `{line}`: {}", shell.0, told(&output)).into());
    }
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// Lines that need a server of one's own, or AWS, mean the same in every shell, and are such that drctl takes.
#[tokio::test]
async fn every_line_of_the_readme_is_one_command_in_every_shell() -> Outcome<()> {
    use clap::Parser as _;
    let home = crate::support::scratch::folder()?;
    let lines = blocks(README, "sh").concat();
    let lines: Vec<&str> = lines.lines().filter(|line| line.starts_with("drctl ")).collect();
    assert!(lines.len() > 20, "{lines:?}");
    for line in lines {
        let mut seen: Option<Vec<String>> = None;
        for shell in SHELLS {
            let words = words(shell, home.path(), line).await?;
            assert_eq!(*seen.get_or_insert(words.clone()), words, "{}: {line}", shell.0);
            let command = std::iter::once("drctl".to_owned()).chain(words);
            if let Err(error) = drctl::cli::Cli::try_parse_from(command) {
                return Err(format!("{}: `{line}`: {error}", shell.0).into());
            }
        }
    }
    Ok(())
}
