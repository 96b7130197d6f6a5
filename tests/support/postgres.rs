//! A throw-away PostgreSQL cluster: own directory, own port, gone when dropped.

use std::fs::{File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use sqlx::{PgConnection, postgres::PgConnectOptions};
use tempfile::TempDir;

use super::{Outcome, cluster_template};

/// The superuser of every cluster here.
pub(crate) const SUPERUSER: &str = "postgres";

const READY_WITHIN: Duration = Duration::from_secs(60);
const GONE_WITHIN: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(25);

/// How roles prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Auth {
    Trust,
    /// Everyone needs a password; this is the superuser's.
    Scram(String),
}

/// What a cluster is to be like.
#[derive(Clone, Debug)]
pub(crate) struct ClusterOptions {
    pub(crate) major: u32,
    pub(crate) auth: Auth,
    /// Lines of `postgresql.conf`: name, value without quotes.
    pub(crate) settings: Vec<(String, String)>,
    /// More arguments of initdb.
    pub(crate) initdb: Vec<String>,
    /// Extensions that only this server has: name, and the script that makes version 1.
    pub(crate) extensions: Vec<(String, String)>,
}

impl ClusterOptions {
    /// Segments have 1 MB: each is written, archived and fetched as a whole, and a test that switches between them
    /// waits for nothing else. [`Self::segment_size`] gives them another size.
    pub(crate) fn new(major: u32) -> Self {
        let initdb = vec![segment_option(1)];
        Self { major, auth: Auth::Trust, settings: vec![], initdb, extensions: vec![] }
    }

    /// In MB.
    pub(crate) fn segment_size(mut self, size: u32) -> Self {
        self.initdb[0] = segment_option(size);
        self
    }

    pub(crate) fn scram(mut self, password: &str) -> Self {
        self.auth = Auth::Scram(password.to_owned());
        self
    }

    pub(crate) fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn extension(mut self, name: &str, script: &str) -> Self {
        self.extensions.push((name.to_owned(), script.to_owned()));
        self
    }

    pub(crate) fn initdb(mut self, argument: &str) -> Self {
        self.initdb.push(argument.to_owned());
        self
    }
}

fn segment_option(size: u32) -> String {
    format!("--wal-segsize={size}")
}

/// A running server. Dropping it ends the server and deletes its directory.
pub(crate) struct Cluster {
    directory: TempDir,
    programs: PathBuf,
    auth: Auth,
    major: u32,
    port: u16,
    server: Option<Child>,
}

impl Cluster {
    /// A cluster everyone may enter, with settings made for speed.
    pub(crate) async fn start(major: u32) -> Outcome<Self> {
        Self::start_with(ClusterOptions::new(major)).await
    }

    pub(crate) async fn start_with(options: ClusterOptions) -> Outcome<Self> {
        tokio::task::spawn_blocking(move || Self::make(&options)).await?
    }

    /// A streaming standby of this cluster, as it is now.
    pub(crate) async fn standby(&self) -> Outcome<Self> {
        let mut standby = Self::empty(self.major, self.auth.clone())?;
        let mut command = standby.command("pg_basebackup");
        command.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--username", SUPERUSER]);
        command.arg("--host=127.0.0.1").arg(format!("--port={}", self.port)).arg("-D").arg(standby.data());
        if let Some(password) = self.password() {
            command.env("PGPASSWORD", password);
        }
        tokio::task::spawn_blocking(move || {
            let output = command.output()?;
            if !output.status.success() {
                let words = String::from_utf8_lossy(&output.stderr).into_owned();
                return Err(format!("pg_basebackup failed: {words}").into());
            }
            standby.configure(&ClusterOptions::new(standby.major))?;
            standby.begin()?;
            Ok(standby)
        })
        .await?
    }

    fn make(options: &ClusterOptions) -> Outcome<Self> {
        let mut cluster = Self::empty(options.major, options.auth.clone())?;
        cluster.initdb(options)?;
        cluster.configure(options)?;
        if !options.extensions.is_empty() {
            cluster.add_extensions(&options.extensions)?;
        }
        cluster.begin()?;
        Ok(cluster)
    }

    fn empty(major: u32, auth: Auth) -> Outcome<Self> {
        let programs = programs(major)?;
        let directory = super::scratch::open_folder("drctl-pg")?;
        if let Some((user, group)) = owner()? {
            chown(directory.path(), Some(user), Some(group))?;
        }
        Ok(Self { directory, programs, auth, major, port: 0, server: None })
    }

    fn initdb(&self, options: &ClusterOptions) -> Outcome<()> {
        let template = match options.auth {
            Auth::Trust => Some(cluster_template::template(&self.programs, &options.initdb)?),
            // The password is part of what initdb makes.
            Auth::Scram(_) => None,
        };
        if let Some(template) = &template
            && cluster_template::copy_from(template, &self.data())?
        {
            return Ok(());
        }
        let mut command = self.command("initdb");
        command.args(["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--username", SUPERUSER]);
        match &options.auth {
            Auth::Trust => command.arg("--auth=trust"),
            Auth::Scram(password) => {
                let file = self.path("password");
                std::fs::write(&file, password)?;
                std::fs::set_permissions(&file, Permissions::from_mode(0o644))?;
                command.arg("--auth=scram-sha-256").arg("--pwfile").arg(file)
            }
        };
        command.args(&options.initdb).arg("-D").arg(self.data());
        let output = command.output()?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("initdb failed: {words}").into());
        }
        template.map_or(Ok(()), |template| cluster_template::keep(&self.data(), &template))
    }

    /// A server looks for extensions beside its program: this one gets a program of its own, in a folder that
    /// leads to everything else.
    fn add_extensions(&mut self, extensions: &[(String, String)]) -> Outcome<()> {
        use std::os::unix::fs::symlink;
        let (version, prefix) = match self.programs.ancestors().collect::<Vec<_>>()[..] {
            [_, version, _, _, prefix, ..] => (version.to_owned(), prefix.to_owned()),
            _ => return Err(format!("{} is not laid out as expected", self.programs.display()).into()),
        };
        let major = self.major.to_string();
        let own_version = self.path("own/lib/postgresql").join(&major);
        let (own_programs, own_share) =
            (own_version.join("bin"), self.path("own/share/postgresql").join(&major));
        let links = |from: &Path, to: &Path, but: &str| -> Outcome<()> {
            std::fs::create_dir_all(to)?;
            for entry in std::fs::read_dir(from)? {
                let entry = entry?;
                if entry.file_name() != but {
                    symlink(entry.path(), to.join(entry.file_name()))?;
                }
            }
            Ok(())
        };
        let share = prefix.join("share/postgresql").join(&major);
        links(&self.programs, &own_programs, "postgres")?;
        links(&share, &own_share, "extension")?;
        links(&share.join("extension"), &own_share.join("extension"), "")?;
        symlink(version.join("lib"), own_version.join("lib"))?;
        std::fs::copy(self.programs.join("postgres"), own_programs.join("postgres"))?;
        for (name, script) in extensions {
            let folder = own_share.join("extension");
            std::fs::write(
                folder.join(format!("{name}.control")),
                "default_version = '1'\nrelocatable = false\n",
            )?;
            std::fs::write(folder.join(format!("{name}--1.sql")), script)?;
        }
        self.programs = own_programs;
        Ok(())
    }

    fn configure(&self, options: &ClusterOptions) -> Outcome<()> {
        let directory = self.directory.path().display().to_string();
        let ours = [
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", directory.as_str()),
            ("fsync", "off"),
            ("shared_buffers", "16MB"),
            ("max_connections", "40"),
        ];
        let given = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.append(ours.into_iter().chain(given))
    }

    /// Adds lines to `postgresql.conf`; the last of a name counts.
    fn append<'a>(&self, settings: impl Iterator<Item = (&'a str, &'a str)>) -> Outcome<()> {
        let lines: String =
            settings.map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''"))).collect();
        let mut text = std::fs::read_to_string(self.data().join("postgresql.conf"))?;
        text.push_str(&lines);
        std::fs::write(self.data().join("postgresql.conf"), text)?;
        Ok(())
    }

    /// Starts the server and waits until it takes connections. The port is one the system had free a
    /// moment ago, so a start that lost it to someone else is tried again.
    fn begin(&mut self) -> Outcome<()> {
        for attempt in 1.. {
            self.port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            match self.run_until_ready() {
                Ok(()) => return Ok(()),
                Err(error) if attempt < 5 && error.to_string().contains("could not bind") => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn run_until_ready(&mut self) -> Outcome<()> {
        let log = File::create(self.path("log"))?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.server = Some(command.spawn()?);
        let begun = Instant::now();
        loop {
            // The eighth line of the file is the state; the server writes it for pg_ctl's own wait. A
            // server that was killed leaves its own file there.
            let state = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
            let process = self.server.as_ref().map(|server| server.id().to_string());
            let is_of_it = state.lines().next() == process.as_deref();
            if is_of_it && state.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            let ended = self.server.as_mut().map(Child::try_wait).transpose()?.flatten();
            if let Some(status) = ended {
                self.server = None;
                return Err(format!("PostgreSQL ended at its start ({status}):\n{}", self.log_tail()).into());
            }
            if begun.elapsed() > READY_WITHIN {
                return Err(format!("PostgreSQL was not ready in time:\n{}", self.log_tail()).into());
            }
            std::thread::sleep(STEP);
        }
    }

    /// The oldest segment that the server has.
    pub(crate) fn oldest_segment(&self) -> Outcome<PathBuf> {
        let files = std::fs::read_dir(self.data().join("pg_wal"))?.collect::<Result<Vec<_>, _>>()?;
        let files = files.into_iter().map(|entry| entry.path()).filter(|path| path.is_file());
        files.min().ok_or_else(|| "a server without a segment".into())
    }

    /// Turns TLS on with a certificate for `localhost`, and gives the authority that signed it.
    pub(crate) async fn turn_tls_on(&self) -> Outcome<PathBuf> {
        let data = self.data();
        let script = "
            openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt
            openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr
            printf 'subjectAltName=DNS:localhost' > extension
            openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \\
                -extfile extension -out server.crt
            chmod 600 server.key";
        let output = Command::new("sh").arg("-ec").arg(script).current_dir(&data).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        let owner = std::fs::metadata(&data)?;
        chown(data.join("server.key"), Some(owner.uid()), Some(owner.gid()))?;
        self.execute("postgres", &["ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()"]).await?;
        let begun = Instant::now();
        while self.text("postgres", "SELECT current_setting('ssl')").await? != "on" {
            if begun.elapsed() > READY_WITHIN {
                return Err(format!("TLS was not turned on:\n{}", self.log_tail()).into());
            }
            tokio::time::sleep(STEP).await;
        }
        Ok(data.join("ca.crt"))
    }

    /// A copy of this running cluster by `pg_basebackup`, without any log, with more lines of
    /// `postgresql.conf` and an empty `recovery.signal`. Not started yet.
    pub(crate) async fn copy(&self, settings: &[(&str, &str)]) -> Outcome<Self> {
        let copy = Self {
            directory: folder()?,
            programs: self.programs.clone(),
            auth: self.auth.clone(),
            major: self.major,
            port: 0,
            server: None,
        };
        let mut command = copy.command("pg_basebackup");
        command.args(["-X", "none", "-c", "fast", "-U", SUPERUSER, "-h", "127.0.0.1", "-p"]);
        command.arg(self.port.to_string()).arg("-D").arg(copy.data());
        let output = tokio::process::Command::from(command).output().await?;
        if !output.status.success() {
            return Err(format!("pg_basebackup failed: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let directory = copy.directory.path().display().to_string();
        let ours = [("unix_socket_directories", directory.as_str()), ("archive_mode", "off")];
        copy.append(ours.into_iter().chain(settings.iter().copied()))?;
        let signal = copy.data().join("recovery.signal");
        std::fs::write(&signal, "")?;
        if let Some((user, group)) = owner()? {
            chown(&signal, Some(user), Some(group))?;
        }
        Ok(copy)
    }

    /// An empty directory, to be filled with a copy of this cluster.
    pub(crate) fn blank(&self) -> Outcome<Self> {
        let copy = Self {
            directory: folder()?,
            programs: self.programs.clone(),
            auth: self.auth.clone(),
            major: self.major,
            port: 0,
            server: None,
        };
        std::fs::create_dir(copy.data())?;
        std::fs::set_permissions(copy.data(), Permissions::from_mode(0o700))?;
        Ok(copy)
    }

    /// A data directory that was restored, to be started beside this cluster or in its place.
    pub(crate) fn adopt(&self, restored: &Path) -> Outcome<Self> {
        let adopted = self.blank()?;
        std::fs::remove_dir(adopted.data())?;
        std::fs::rename(restored, adopted.data())?;
        let directory = adopted.directory.path().display().to_string();
        adopted.append(std::iter::once(("unix_socket_directories", directory.as_str())))?;
        adopted.hand_over()?;
        Ok(adopted)
    }

    /// Gives everything below its directory to the user that runs servers.
    pub(crate) fn hand_over(&self) -> Outcome<()> {
        let Some((user, group)) = owner()? else { return Ok(()) };
        let mut folders = vec![self.directory.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)? {
                let path = entry?.path();
                std::os::unix::fs::lchown(&path, Some(user), Some(group))?;
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                }
            }
        }
        Ok(())
    }

    /// Prepares a directory that was filled with a copy for its recovery.
    pub(crate) fn recover(&self, settings: &[(&str, &str)]) -> Outcome<()> {
        let directory = self.directory.path().display().to_string();
        let ours = [("unix_socket_directories", directory.as_str()), ("archive_mode", "off")];
        self.append(ours.into_iter().chain(settings.iter().copied()))?;
        std::fs::write(self.data().join("recovery.signal"), "")?;
        self.hand_over()
    }

    /// Starts a server that is not running, and waits until it takes connections, or has ended. What it
    /// wrote is in [`Self::log_tail`].
    pub(crate) fn begin_again(&mut self) -> Outcome<()> {
        tokio::task::block_in_place(|| self.begin())
    }

    /// Ends the server at once, as a crash would; the directory stays.
    pub(crate) fn kill(&mut self) {
        self.end(rustix::process::Signal::QUIT);
    }

    /// kill -9 of the server and of all its backends.
    pub(crate) fn kill_9(&mut self) -> Outcome<()> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        for process in super::usage::tree(server.id()) {
            let process = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw);
            let _gone =
                process.map(|process| rustix::process::kill_process(process, rustix::process::Signal::KILL));
        }
        server.wait()?;
        Ok(())
    }

    /// Starts a server that was ended, on another port.
    pub(crate) async fn start_again(mut self) -> Outcome<Self> {
        tokio::task::spawn_blocking(move || {
            self.kill();
            self.begin()?;
            Ok(self)
        })
        .await?
    }

    fn end(&mut self, signal: rustix::process::Signal) {
        let Some(mut server) = self.server.take() else { return };
        let pid = i32::try_from(server.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _gone = rustix::process::kill_process(pid, signal);
        }
        let begun = Instant::now();
        while begun.elapsed() < GONE_WITHIN {
            if !matches!(server.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(STEP);
        }
        let _gone = server.kill();
        let _reaped = server.wait();
    }

    /// A program of this cluster's major, run as the user that may run servers.
    fn command(&self, program: &str) -> Command {
        let path = self.programs.join(program);
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.env("LC_ALL", "C").current_dir(self.directory.path());
        // The settings of whoever runs the tests must not lead anywhere else.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn major(&self) -> u32 {
        self.major
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The server's first process, which all others descend from.
    pub(crate) fn postmaster(&self) -> Outcome<u32> {
        Ok(self.server.as_ref().ok_or("the server was ended")?.id())
    }

    /// Where its Unix socket is: what libpq and drctl take as `host`.
    pub(crate) fn socket_directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where its `pg_dump` and kin are.
    pub(crate) fn programs(&self) -> &Path {
        &self.programs
    }

    /// The last lines of the server's log.
    pub(crate) fn log_tail(&self) -> String {
        let text = std::fs::read(self.path("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// The superuser's URL of a database, over TCP. It holds no password: see [`Self::password`].
    pub(crate) fn url(&self, database: &str) -> String {
        self.url_as(SUPERUSER, database)
    }

    /// `role` and `database` are plain words; others are to be percent-encoded.
    pub(crate) fn url_as(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.port)
    }

    pub(crate) fn password(&self) -> Option<&str> {
        match &self.auth {
            Auth::Trust => None,
            Auth::Scram(password) => Some(password),
        }
    }

    /// A connection as the superuser.
    pub(crate) async fn connect(&self, database: &str) -> Outcome<PgConnection> {
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username(SUPERUSER)
            .database(database);
        let options = match self.password() {
            Some(password) => options.password(password),
            None => options,
        };
        let connected = tokio::time::timeout(READY_WITHIN, options.connect()).await?;
        connected.map_err(|error| format!("{error}; the server's log:\n{}", self.log_tail()).into())
    }

    /// Runs statements as the superuser, each in its own transaction.
    pub(crate) async fn execute(&self, database: &str, statements: &[&str]) -> Outcome<()> {
        let mut connection = self.connect(database).await?;
        for statement in statements {
            sqlx::raw_sql(AssertSqlSafe(*statement))
                .execute(&mut connection)
                .await
                .map_err(|error| format!("{error}, in: {statement}"))?;
        }
        connection.close().await?;
        Ok(())
    }

    /// One value, read as the superuser; the statement gives it as text.
    pub(crate) async fn text(&self, database: &str, query: &str) -> Outcome<String> {
        let mut connection = self.connect(database).await?;
        let value: Option<String> = sqlx::query_scalar(AssertSqlSafe(format!("SELECT ({query})::text")))
            .fetch_one(&mut connection)
            .await
            .map_err(|error| format!("{error}, in: {query}"))?;
        connection.close().await?;
        Ok(value.unwrap_or_default())
    }

    /// Runs a script with the cluster's own psql as the superuser, and gives what it printed. The first
    /// error ends it.
    pub(crate) async fn psql(&self, database: &str, script: &str) -> Outcome<String> {
        let mut command = self.client("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-"]);
        let script = script.to_owned();
        run_with_input(command, script).await
    }

    /// One of the cluster's own client programs with the superuser's connection in its environment, run as
    /// this user.
    pub(crate) fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.env("LC_ALL", "C").env("PGHOST", "127.0.0.1").env("PGPORT", self.port.to_string());
        command.env("PGUSER", SUPERUSER).env_remove("PGDATABASE").env_remove("PGHOSTADDR");
        command.env_remove("PGSERVICE").env_remove("PGOPTIONS");
        if let Some(password) = self.password() {
            command.env("PGPASSWORD", password);
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program to its end with `input` on its standard input, and gives its standard output.
async fn run_with_input(mut command: Command, input: String) -> Outcome<String> {
    tokio::task::spawn_blocking(move || {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let stdin = child.stdin.take();
        let writer = std::thread::spawn(move || {
            use std::io::Write as _;
            stdin.map(|mut pipe| pipe.write_all(input.as_bytes()))
        });
        let output = child.wait_with_output()?;
        let _written = writer.join();
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{command:?} failed ({}): {words}", output.status).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    })
    .await?
}

/// A folder that the server's user may enter, and owns.
fn folder() -> Outcome<TempDir> {
    let folder = super::scratch::open_folder("drctl-pg")?;
    if let Some((user, group)) = owner()? {
        chown(folder.path(), Some(user), Some(group))?;
    }
    Ok(folder)
}

/// Who has to own the files: the user `postgres` where the tests run as root, else nobody but us.
pub(crate) fn owner() -> Outcome<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let ask = |flag: &str| -> Outcome<u32> {
        let output = Command::new("id").args([flag, "postgres"]).output()?;
        let text = String::from_utf8(output.stdout)?;
        text.trim().parse().map_err(|_| {
            "PostgreSQL refuses to run as root, and there is no user `postgres` to run it as (`apt-get install postgresql`)"
                .into()
        })
    };
    Ok(Some((ask("-u")?, ask("-g")?)))
}

/// The programs of a major: named by `DRCTL_TEST_PG<major>`, installed, or extracted by `pg-major.sh`.
pub(crate) fn programs(major: u32) -> Outcome<PathBuf> {
    let named = std::env::var_os(format!("DRCTL_TEST_PG{major}")).map(PathBuf::from);
    let installed = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"));
    let extracted = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("target/parts/pg{major}/usr/lib/postgresql/{major}/bin"));
    let places = named.into_iter().chain([installed, extracted]).collect::<Vec<_>>();
    let found = places.iter().find(|place| place.join("postgres").exists());
    found.cloned().ok_or_else(|| {
        let listed: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        format!(
            "no PostgreSQL {major} in {} (`apt-get install postgresql-{major}`, or `tests/support/pg-major.sh {major}`)",
            listed.join(", ")
        )
        .into()
    })
}
