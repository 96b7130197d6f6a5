//! A PgBouncer in front of a cluster: own directory, own port, gone when dropped.

use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Outcome;
use super::postgres::{Cluster, SUPERUSER, owner};

const PROGRAM: &str = "/usr/sbin/pgbouncer";
const READY_WITHIN: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(25);

pub(crate) struct Pooler {
    directory: TempDir,
    port: u16,
    server: Child,
}

impl Pooler {
    /// `mode`: `transaction` or `session`. `ignored`: startup parameters that it drops.
    pub(crate) async fn start(cluster: &Cluster, mode: &str, ignored: &str) -> Outcome<Self> {
        let directory = super::scratch::open_folder("drctl-pooler")?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let path = directory.path().display();
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {path}/users\npool_mode = {mode}\n\
             ignore_startup_parameters = {ignored}\nlogfile = {path}/log\n",
            cluster.port()
        );
        std::fs::write(directory.path().join("settings"), settings)?;
        std::fs::write(directory.path().join("users"), format!("\"{SUPERUSER}\" \"\"\n"))?;
        let mut command = match owner()? {
            Some((user, group)) => {
                for path in [directory.path().to_owned(), directory.path().join("users")] {
                    chown(path, Some(user), Some(group))?;
                }
                let mut command = Command::new("setpriv");
                command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", PROGRAM]);
                command
            }
            None => Command::new(PROGRAM),
        };
        command.arg("-q").arg(directory.path().join("settings"));
        let server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let server = server.map_err(|error| format!("`{PROGRAM}`: {error} (`apt-get install pgbouncer`)"))?;
        let mut pooler = Self { directory, port, server };
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if begun.elapsed() > READY_WITHIN || pooler.server.try_wait()?.is_some() {
                return Err(format!("PgBouncer did not start:\n{}", pooler.log()).into());
            }
            tokio::time::sleep(STEP).await;
        }
        Ok(pooler)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}@127.0.0.1:{}/{database}", self.port)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _gone = self.server.kill();
        let _reaped = self.server.wait();
    }
}
