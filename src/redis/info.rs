use std::collections::BTreeMap;

use crate::model::RedisDatabase;

/// What a server reports of itself (`INFO`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisInfo(BTreeMap<String, String>);

impl RedisInfo {
    pub fn parse(text: &str) -> Self {
        let fields = text.lines().filter(|line| !line.starts_with('#'));
        let fields = fields.filter_map(|line| line.trim_end().split_once(':'));
        Self(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// `7.0.15`; empty where it is not reported.
    pub fn version(&self) -> &str {
        self.get("redis_version").unwrap_or_default()
    }

    pub fn is_cluster(&self) -> bool {
        self.get("cluster_enabled") == Some("1")
    }

    pub fn is_replica(&self) -> bool {
        self.get("role") == Some("slave")
    }

    /// Returns the databases that are not empty.
    pub fn databases(&self) -> Vec<RedisDatabase> {
        let databases = self.0.iter().filter_map(|(name, value)| {
            let number = name.strip_prefix("db")?.parse().ok()?;
            let field =
                |name: &str| value.split(',').find_map(|field| field.strip_prefix(name)?.parse().ok());
            Some(RedisDatabase {
                number,
                keys: field("keys=")?,
                expiring: field("expires=").unwrap_or_default(),
            })
        });
        databases.collect()
    }

    /// Returns how many keys each database that is not empty has.
    pub fn keys(&self) -> BTreeMap<u64, u64> {
        self.databases().into_iter().map(|database| (database.number, database.keys)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_and_their_keys_are_read() {
        let info = RedisInfo::parse(
            "# Server\r\nredis_version:7.0.15\r\nrole:slave\r\ncluster_enabled:0\r\n# Keyspace\r\ndb0:keys=12,expires=3,avg_ttl=0\r\ndb11:keys=1,expires=0\r\n",
        );
        assert_eq!(info.keys(), BTreeMap::from([(0, 12), (11, 1)]));
        assert_eq!((info.version(), info.is_replica(), info.is_cluster()), ("7.0.15", true, false));
    }
}
