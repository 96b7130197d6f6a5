//! Secrets that stand nowhere on the host.

use super::support::Outcome;
use super::support::postgres::{Cluster, ClusterOptions};
use super::support::secrets_manager::SecretsManager;
use super::support::system::{Place, System};

const PASSWORD: &str = "hush, \\ 'and' \"quiet\"";

/// As RDS keeps what it makes for an instance: JSON with `username` and `password`.
#[tokio::test]
async fn a_password_in_secrets_manager_opens_the_database_and_is_never_told() -> Outcome<()> {
    let cluster = Cluster::start_with(ClusterOptions::new(15).scram(PASSWORD)).await?;
    let kept = serde_json::json!({ "username": "postgres", "password": PASSWORD, "port": 5432 }).to_string();
    let secrets = SecretsManager::start(&[("shop/db", &kept), ("word", PASSWORD)]).await?;
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", cluster.port());
    let mut system = System::new(&url, &[Place::Directory])?;
    system.append("password = \"secretsmanager:shop/db#password\"")?;
    system.set("AWS_ENDPOINT_URL_SECRETS_MANAGER", &format!("http://{}", secrets.address));
    system.set("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
    system.set("AWS_SECRET_ACCESS_KEY", "secret");
    system.set("AWS_EC2_METADATA_DISABLED", "true");
    let nowhere = system.expect(1, &["backup"]).await?;
    nowhere.says("its region is not known")?.says("AWS_REGION")?;
    system.set("AWS_REGION", "us-east-1");
    system.expect(0, &["backup"]).await?;

    for (reference, words) in [
        ("shop/db#pasword", "its JSON has no `pasword`; it has `password`, `port`, `username`"),
        ("word#password", "it is not JSON"),
        ("shop/gone", "ResourceNotFoundException"),
    ] {
        system.rewrite("secretsmanager:shop/db#password", &format!("secretsmanager:{reference}"))?;
        let run = system.expect(1, &["backup"]).await?;
        run.says(words)?;
        assert!(!run.stderr.contains("hush") && !run.stdout.contains("hush"), "{run:#?}");
        system.rewrite(&format!("secretsmanager:{reference}"), "secretsmanager:shop/db#password")?;
    }
    system.rewrite("secretsmanager:shop/db#password", "secretsmanager:word")?;
    system.expect(0, &["backup"]).await?;
    Ok(())
}
