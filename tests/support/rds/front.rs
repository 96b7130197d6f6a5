//! What stands before a server where a test wants RDS's own door: TLS with a certificate of the region's
//! authority, and tokens of IAM for roles that are granted `rds_iam`. Everybody else is led on to the server, which
//! asks for a password.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;

use super::super::Outcome;
use super::Shared;
use super::authority::HOST;
use super::machine::blocking;
use super::storage::{Storage, run};
use super::token::{Expected, verify};

const SSL: u32 = 80_877_103;
const GSS: u32 = 80_877_104;
const CANCEL: u32 = 80_877_102;
/// Of a message before anybody is let in.
const LONGEST: u32 = 64 << 10;
const NOT_LET_IN: &str = "28000";

/// A door that is open as long as this is kept.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) port: u16,
    serving: JoinHandle<()>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The server behind it.
#[derive(Clone, Debug)]
pub(super) struct Behind {
    pub(super) port: u16,
    pub(super) sockets: PathBuf,
    pub(super) storage: Arc<Storage>,
}

impl Front {
    pub(super) fn before(behind: Behind, shared: Weak<Shared>) -> Outcome<Self> {
        let listener = std::net::TcpListener::bind((HOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let runtime = tokio::runtime::Handle::current();
        let listener = {
            let _within = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let door = Arc::new(Door { port, behind, shared });
        let serving = runtime.spawn(async move {
            while let Ok((stream, from)) = listener.accept().await {
                let door = Arc::clone(&door);
                // Who is refused, or goes away, goes.
                tokio::spawn(async move { door.greet(stream, from).await.ok() });
            }
        });
        Ok(Self { port, serving })
    }
}

struct Door {
    port: u16,
    behind: Behind,
    shared: Weak<Shared>,
}

impl Door {
    async fn greet(&self, mut stream: TcpStream, from: SocketAddr) -> Outcome<()> {
        loop {
            let (code, message) = first(&mut stream).await?;
            match code {
                SSL => {
                    let Some(shared) = self.shared.upgrade() else { return Ok(()) };
                    stream.write_all(b"S").await?;
                    let mut stream = shared.authority.acceptor.accept(stream).await?;
                    drop(shared);
                    let (_, message) = first(&mut stream).await?;
                    return self.admit(stream, message, from, true).await;
                }
                GSS => stream.write_all(b"N").await?,
                CANCEL => {
                    return Ok(self.to_server().await?.write_all(&message).await?);
                }
                _ => return self.admit(stream, message, from, false).await,
            }
        }
    }

    async fn to_server(&self) -> Outcome<TcpStream> {
        Ok(TcpStream::connect((HOST, self.behind.port)).await?)
    }

    async fn admit<S>(&self, mut stream: S, startup: Vec<u8>, from: SocketAddr, tls: bool) -> Outcome<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // A server in the default security group takes no connections.
        let mut server = self.to_server().await?;
        let said: Vec<String> = startup[8..]
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let named = |name: &str| said.chunks(2).find(|pair| pair[0] == name).map(|pair| pair[1].clone());
        let user = named("user").ok_or("nobody")?;
        if !self.is_of_iam(&user).await? {
            server.write_all(&startup).await?;
            copy_bidirectional(&mut stream, &mut server).await?;
            return Ok(());
        }
        drop(server);
        if !tls {
            let database = named("database").unwrap_or_else(|| user.clone());
            let words = format!(
                "no pg_hba.conf entry for host \"{}\", user \"{user}\", database \"{database}\", no encryption",
                from.ip()
            );
            return refuse(&mut stream, &words).await;
        }
        stream.write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3]).await?;
        let token = password(&mut stream).await?;
        let Some(shared) = self.shared.upgrade() else { return Ok(()) };
        let outcome = shared.judge(self.port, &user, &token);
        shared.script().tokens.push((token, outcome.clone()));
        drop(shared);
        if outcome.is_err() {
            return refuse(&mut stream, &format!("PAM authentication failed for user \"{user}\"")).await;
        }
        let socket = self.behind.sockets.join(format!(".s.PGSQL.{}", self.behind.port));
        let mut server = UnixStream::connect(socket).await?;
        server.write_all(&startup).await?;
        copy_bidirectional(&mut stream, &mut server).await?;
        Ok(())
    }

    async fn is_of_iam(&self, user: &str) -> Outcome<bool> {
        let mut psql = self.behind.storage.program("psql");
        psql.args(["-X", "-q", "-A", "-t", "-U", "rdsadmin", "-d", "postgres", "-h"]);
        psql.arg(&self.behind.sockets).arg("-p").arg(self.behind.port.to_string());
        psql.arg("-c").arg(format!(
            "SELECT count(*) FROM pg_roles WHERE rolname = '{}' AND NOT rolsuper \
             AND pg_has_role(oid, 'rds_iam', 'member')",
            user.replace('\'', "''")
        ));
        Ok(blocking(move || run(psql)).await?.trim() == "1")
    }
}

impl Shared {
    /// What IAM says of a token that is shown at this port; for the test, not for whoever shows it.
    fn judge(&self, port: u16, user: &str, token: &str) -> Result<(), String> {
        let (ahead, denied) = {
            let script = self.script();
            (script.clock_ahead, script.denied.contains("rds-db:connect"))
        };
        let state = self.state();
        let found = state.regions.iter().find_map(|(region, there)| {
            let instance = there.instances.values().find(|instance| instance.port() == Some(port))?;
            Some((region.clone(), instance.settings.iam_authentication))
        });
        let (region, is_on) = found.ok_or("no instance is at this port")?;
        if !is_on {
            return Err("IAM authentication is off".to_owned());
        }
        if denied {
            return Err("it may not rds-db:connect".to_owned());
        }
        verify(token, &Expected { host: HOST, port, region: &region, user, now: super::state::now() + ahead })
    }
}

/// The first message of a connection, whole, and its code.
async fn first(stream: &mut (impl AsyncRead + Unpin)) -> Outcome<(u32, Vec<u8>)> {
    let length = stream.read_u32().await?;
    if !(8..LONGEST).contains(&length) {
        return Err(format!("a first message of {length} bytes").into());
    }
    let mut message = vec![0; length as usize];
    message[..4].copy_from_slice(&length.to_be_bytes());
    stream.read_exact(&mut message[4..]).await?;
    let code = u32::from_be_bytes([message[4], message[5], message[6], message[7]]);
    Ok((code, message))
}

async fn password(stream: &mut (impl AsyncRead + Unpin)) -> Outcome<String> {
    let (kind, length) = (stream.read_u8().await?, stream.read_u32().await?);
    if kind != b'p' || !(5..LONGEST).contains(&length) {
        return Err("no password".into());
    }
    let mut text = vec![0; length as usize - 4];
    stream.read_exact(&mut text).await?;
    text.pop();
    Ok(String::from_utf8(text)?)
}

async fn refuse(stream: &mut (impl AsyncWrite + Unpin), words: &str) -> Outcome<()> {
    let mut fields = Vec::new();
    for (field, value) in [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', NOT_LET_IN), (b'M', words)] {
        fields.push(field);
        fields.extend(value.as_bytes());
        fields.push(0);
    }
    fields.push(0);
    let length = u32::try_from(fields.len() + 4)?;
    stream.write_u8(b'E').await?;
    stream.write_u32(length).await?;
    stream.write_all(&fields).await?;
    stream.shutdown().await?;
    Ok(())
}
