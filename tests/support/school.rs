//! A school on a cluster of RDS in one region.

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, postgres::PgConnectOptions};

use super::Outcome;
use super::classboard::{AWAY, HOME};
use super::rds::{RdsServer, Settings, Timing, key};
use super::system::{Place, System};

/// A cluster `school` with one pupil, source `cluster` of a policy.
pub(crate) struct School {
    pub(crate) server: RdsServer,
    pub(crate) settings: Settings,
    pub(crate) system: System,
}

impl School {
    pub(crate) async fn start(
        timing: Timing,
        settings: Settings,
        members: &[&str],
        copy_to: &str,
    ) -> Outcome<Self> {
        let server = RdsServer::start_with(timing).await?;
        server.cluster(HOME, "school", settings.clone(), members).await?;
        let source = format!(
            r#"[sources.cluster]
kind = "rds"
region = "{HOME}"
cluster = "school"
endpoint = "{}"
credentials = {{ access_key_id = "env:RDS_KEY", secret_access_key = "env:RDS_SECRET" }}
poll = "50ms"
deadline = "60s"
url = "postgres://{}@school.invalid/{}"
password = "env:RDS_PASSWORD"
{copy_to}"#,
            server.url(),
            settings.master_user,
            settings.database.as_deref().unwrap_or("postgres"),
        );
        let mut system = System::of(&source, &[Place::Directory])?;
        system.set("RDS_KEY", "AKIDEXAMPLE");
        system.set("RDS_SECRET", "secret");
        system.set("RDS_PASSWORD", &settings.master_password);
        let school = Self { server, settings, system };
        if !members.is_empty() {
            let table = "CREATE TABLE pupils AS SELECT 1 AS id, text 'ada' AS name";
            school.sql(HOME, "school", table).await?;
        }
        Ok(school)
    }

    /// Aurora, whose snapshots are copied to the other region.
    pub(crate) async fn aurora(timing: Timing) -> Outcome<Self> {
        let copy_to = format!(
            r#"[sources.cluster.copy_to.{AWAY}]
kms_key = "{}"
subnet_group = "school-west"
security_groups = ["sg-west"]
parameter_group = "school-west-aurora15"
"#,
            key(AWAY, "1"),
        );
        let school = Self::start(timing, Settings::aurora(HOME), &["school-a", "school-b"], &copy_to).await?;
        school.server.add_subnet_group(AWAY, "school-west");
        school.server.add_cluster_parameter_group(AWAY, "school-west-aurora15");
        Ok(school)
    }

    /// One value, read or written at the cluster's own address.
    pub(crate) async fn sql(&self, region: &str, cluster: &str, statement: &str) -> Outcome<String> {
        let found =
            self.server.client(region).describe_db_clusters().db_cluster_identifier(cluster).send().await?;
        let found = found.db_clusters().first().ok_or("it is not listed")?;
        let options = PgConnectOptions::new_without_pgpass()
            .host(found.endpoint().ok_or("no endpoint")?)
            .port(u16::try_from(found.port().ok_or("no port")?)?)
            .username(&self.settings.master_user)
            .password(&self.settings.master_password)
            .database(self.settings.database.as_deref().unwrap_or("postgres"));
        let mut connection = options.connect().await?;
        let value: Option<String> =
            sqlx::query_scalar(AssertSqlSafe(statement.to_owned())).fetch_optional(&mut connection).await?;
        connection.close().await?;
        Ok(value.unwrap_or_default())
    }

    pub(crate) async fn pupils(&self, region: &str, cluster: &str) -> Outcome<String> {
        self.sql(region, cluster, "SELECT string_agg(name, ' ' ORDER BY id) FROM pupils").await
    }

    /// The id of the newest backup.
    pub(crate) async fn back_up(&self) -> Outcome<String> {
        self.system.expect(0, &["backup", "cluster"]).await?;
        self.backups().pop().ok_or_else(|| "no backup".into())
    }

    /// The ids of its backups.
    pub(crate) fn backups(&self) -> Vec<String> {
        let folder = self.system.repository("primary").join("shop/cluster/backups");
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut ids: Vec<_> = entries
            .filter(|entry| entry.path().join("manifest.json").exists())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        ids.sort();
        ids
    }

    /// Whether the repository has a file of a name with this in it.
    pub(crate) fn has_stored(&self, name: &str) -> bool {
        let found = super::system::contents(&self.system.repository("primary")).unwrap_or_default();
        found.keys().any(|path| path.display().to_string().contains(name))
    }

    pub(crate) fn identity(&self) -> String {
        self.system.operational.display().to_string()
    }

    /// The names of a cluster's instances.
    pub(crate) fn members(&self, region: &str, cluster: &str) -> Vec<String> {
        let all = self.server.instances(region).into_iter();
        all.filter(|one| one.cluster.as_deref() == Some(cluster)).map(|one| one.id).collect()
    }

    /// What was made of that name: calls that RDS carried out.
    pub(crate) fn made(&self, action: &str, name: &str) -> usize {
        let calls = self.server.calls().into_iter().filter(|call| call.action == action);
        calls.filter(|call| call.error.is_none() && call.parameters.values().any(|one| one == name)).count()
    }
}
