use std::path::PathBuf;

use super::{RedisEndpoint, RedisError, address};
use crate::platform::{ExposeSecret as _, SecretRef, SecretString};
use crate::policy::RedisSource;

/// A server, and how to log in to it.
#[derive(Clone, Debug)]
pub struct RedisTarget {
    pub endpoint: RedisEndpoint,
    pub user: Option<String>,
    pub password: Option<SecretString>,
    /// The name of the master that the endpoint, a Sentinel, is asked for.
    pub sentinel_master: Option<String>,
    /// The certificate authority; `None`: the host's.
    pub authority: Option<PathBuf>,
}

impl RedisTarget {
    /// Reads the secrets of a source.
    pub async fn of_source(source: &RedisSource) -> Result<Self, RedisError> {
        let url = match (&source.url, &source.url_ref) {
            (Some(url), _) => SecretString::from(url.as_str().to_owned()),
            (None, Some(reference)) => reference.resolve().await.map_err(RedisError::UrlSecret)?,
            (None, None) => return Err(RedisError::Url("there is none")),
        };
        let mut target = Self::at(url.expose_secret(), source.password.as_ref()).await?;
        target.sentinel_master = source.sentinel_master.clone();
        target.authority = source.ca_certificate.clone();
        Ok(target)
    }

    /// Returns the server of a URL.
    pub async fn at(url: &str, password: Option<&SecretRef>) -> Result<Self, RedisError> {
        let parsed = address::parse(url)?;
        let password = match password {
            Some(reference) => Some(reference.resolve().await.map_err(RedisError::Password)?),
            None => parsed.password,
        };
        Ok(Self {
            endpoint: parsed.endpoint,
            user: parsed.user,
            password,
            sentinel_master: None,
            authority: None,
        })
    }
}
