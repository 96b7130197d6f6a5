//! A school on RDS in one region, whose policy copies its snapshots to another.

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};

use super::Outcome;
use super::rds::{RdsServer, Settings, Timing, key};
use super::system::{Place, System};

pub(crate) const HOME: &str = "us-east-1";
pub(crate) const AWAY: &str = "us-west-2";

pub(crate) struct Classboard {
    pub(crate) server: RdsServer,
    pub(crate) settings: Settings,
    pub(crate) system: System,
}

impl Classboard {
    /// An instance with one pupil, source `instance` of a policy with two repositories.
    pub(crate) async fn start(timing: Timing) -> Outcome<Self> {
        Self::on(RdsServer::start_with(timing).await?).await
    }

    /// As above, dumped as well, and role `drctl` logs in by a token of IAM.
    pub(crate) async fn by_token(timing: Timing) -> Outcome<Self> {
        let server = RdsServer::start_with(timing).await?;
        let bundle = server.put_doors();
        let board = Self::on(server).await?;
        let mut connection = board.enter(HOME, "classboard").await?;
        run(&mut connection, "CREATE ROLE drctl LOGIN CREATEDB").await?;
        run(&mut connection, "GRANT rds_iam, pg_read_all_data TO drctl").await?;
        connection.close().await?;
        let port = board.server.look_up(HOME, "classboard")?.port().ok_or("no server")?;
        let verified = format!("sslmode=verify-full&sslrootcert={}", bundle.display());
        let was = format!("{}@classboard.invalid/school", board.settings.master_user);
        board.system.rewrite(&was, &format!("drctl@127.0.0.1:{port}/school?{verified}"))?;
        board.system.rewrite("password = \"env:RDS_PASSWORD\"", "authentication = \"iam\"")?;
        board.system.rewrite("kind = \"rds\"", "kind = \"rds\"\nmethods = [\"snapshot\", \"logical\"]")?;
        Ok(board)
    }

    async fn on(server: RdsServer) -> Outcome<Self> {
        let settings = Settings::production(HOME);
        server.instance(HOME, "classboard", settings.clone()).await?;
        server.add_subnet_group(AWAY, "school-west");
        server.add_parameter_group(AWAY, "school-west-pg15", &[("work_mem", "8192")]);
        let source = format!(
            r#"[sources.instance]
kind = "rds"
region = "{HOME}"
instance = "classboard"
endpoint = "{}"
credentials = {{ access_key_id = "env:RDS_KEY", secret_access_key = "env:RDS_SECRET" }}
poll = "20ms"
deadline = "60s"
url = "postgres://{}@classboard.invalid/{}"
password = "env:RDS_PASSWORD"

[sources.instance.copy_to.{AWAY}]
kms_key = "{}"
subnet_group = "school-west"
security_groups = ["sg-west"]
parameter_group = "school-west-pg15"
"#,
            server.url(),
            settings.master_user,
            settings.database.as_deref().unwrap_or("postgres"),
            key(AWAY, "1"),
        );
        let mut system = System::of(&source, &[Place::Directory, Place::Directory])?;
        system.set("RDS_KEY", "AKIDEXAMPLE");
        system.set("RDS_SECRET", "secret");
        system.set("RDS_PASSWORD", &settings.master_password);
        let classboard = Self { server, settings, system };
        let mut connection = classboard.enter(HOME, "classboard").await?;
        run(&mut connection, "CREATE TABLE pupils (id serial PRIMARY KEY, name text)").await?;
        connection.close().await?;
        classboard.admit("ada").await?;
        Ok(classboard)
    }

    /// A connection to an instance.
    pub(crate) async fn enter(&self, region: &str, instance: &str) -> Outcome<PgConnection> {
        let instance = self.server.look_up(region, instance)?;
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(instance.port().ok_or("no server")?)
            .username(&self.settings.master_user)
            .password(&self.settings.master_password)
            .database(self.settings.database.as_deref().unwrap_or("postgres"));
        Ok(options.connect().await?)
    }

    /// One more pupil, committed.
    pub(crate) async fn admit(&self, name: &str) -> Outcome<()> {
        let mut connection = self.enter(HOME, "classboard").await?;
        run(&mut connection, &format!("INSERT INTO pupils (name) VALUES ('{name}')")).await?;
        Ok(connection.close().await?)
    }

    /// The names of all pupils of an instance, in the order they came.
    pub(crate) async fn pupils(&self, region: &str, instance: &str) -> Outcome<String> {
        let mut connection = self.enter(region, instance).await?;
        let names: Option<String> =
            sqlx::query_scalar("SELECT string_agg(name, ' ' ORDER BY id) FROM pupils")
                .fetch_one(&mut connection)
                .await?;
        connection.close().await?;
        Ok(names.unwrap_or_default())
    }

    /// Ids of the backups in the primary repository.
    pub(crate) fn backups(&self) -> Vec<String> {
        let folder = self.system.repository("primary").join("shop/instance/backups");
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut ids: Vec<_> = entries
            .filter(|entry| entry.path().join("manifest.json").exists())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        ids.sort();
        ids
    }

    /// Identifiers of drctl's snapshots in a region.
    pub(crate) fn snapshots(&self, region: &str) -> Vec<String> {
        let snapshots = self.server.snapshots(region).into_iter();
        snapshots.map(|snapshot| snapshot.id).filter(|id| id.starts_with("drctl-")).collect()
    }
}

async fn run(connection: &mut PgConnection, statement: &str) -> Outcome<()> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection).await?;
    Ok(())
}
