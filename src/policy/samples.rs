//! A policy for tests, without faults and without warnings.

/// The identities of its recipients do not exist.
pub(super) const POLICY: &str = r#"
[system]
name = "shop"
owner = "platform@example.org"

[objectives]
rto = "4h"
rpo = "1h"

[repository.primary]
url = "s3://shop-backups/drctl"
region = "us-east-1"
credentials = { profile = "backup" }
object_lock = { mode = "governance", retain = "35d" }

[repository.copies.west]
url = "s3://shop-backups-west/drctl"
region = "us-west-2"
credentials = { access_key_id = "env:WEST_ID", secret_access_key = "file:west.key" }

[encryption]
recipients = [
    { holder = "operational", key = "age1udeqqjej24rgxk2lt2skplxpmz8cszx9laqs9j6atkwz3quud94s3nlnt8" },
    "age1szzfd6a7vqjk9hn48q2kk74ej50ryy44pm2pa8hxyxkwvkm2ruxsaenqjy",
]

[sources.database]
kind = "postgres"
url = "postgres://drctl@db.internal:5432/shop?sslmode=verify-full"
password = "env:PGPASSWORD"
methods = ["logical"]

[retention]
daily = 30
weekly = 27

[schedule.sources]
database = { logical = "15 * * * *" }

[drill]
schedule = "0 5 * * 0"
checks = [{ name = "orders", sql = "select count(*) from orders", at_least = 1 }]

[notify]
p1 = ["team"]
channels.team = { kind = "slack", url = "env:SLACK_URL" }
"#;

/// Returns the policy with one part of its text replaced.
pub(super) fn with(text: &str, other: &str) -> String {
    assert!(POLICY.contains(text), "{text}");
    POLICY.replace(text, other)
}
