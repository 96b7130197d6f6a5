use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

use super::CatalogError;
use crate::platform::{ExposeSecret as _, SecretString};

/// The location of a catalog.
#[derive(Clone)]
pub enum CatalogLocation {
    Sqlite(PathBuf),
    /// For one command, if no other catalog is usable.
    Memory,
    /// May contain a password: neither shown nor logged.
    Postgres(Url),
}

impl CatalogLocation {
    /// Resolves the location. `url`: `sqlite:/path/file.db` or `postgres://…`; without one it is `catalog.db`
    /// in `state`.
    pub fn resolve(
        url: Option<&str>,
        password: Option<&SecretString>,
        state: &Path,
    ) -> Result<Self, CatalogError> {
        let Some(url) = url else { return Ok(Self::Sqlite(state.join("catalog.db"))) };
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(CatalogError::Location) } else { Ok(Self::Sqlite(path.into())) };
        }
        let mut url: Url = url.parse().map_err(|_| CatalogError::Location)?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(CatalogError::Location);
        }
        if let Some(password) = password {
            // `set_password` does not encode it, and a parser would take it for the beginning of an escape.
            let password = password.expose_secret().replace('%', "%25");
            url.set_password(Some(&password)).map_err(|()| CatalogError::Location)?;
        }
        Ok(Self::Postgres(url))
    }

    /// Returns the URL for the driver.
    pub(super) fn url(&self) -> Result<Url, CatalogError> {
        match self {
            Self::Postgres(url) => Ok(url.clone()),
            Self::Memory => "sqlite::memory:".parse().map_err(|_| CatalogError::Location),
            Self::Sqlite(path) => {
                let path = std::path::absolute(path)
                    .map_err(|source| CatalogError::Create { location: self.to_string(), source })?;
                let file = Url::from_file_path(path).map_err(|()| CatalogError::Location)?;
                format!("sqlite://{}?mode=rwc", file.path()).parse().map_err(|_| CatalogError::Location)
            }
        }
    }
}

impl fmt::Display for CatalogLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "`{}`", path.display()),
            Self::Memory => f.write_str("memory"),
            Self::Postgres(url) => {
                let host = url.host_str().unwrap_or("localhost");
                write!(f, "`postgres://{host}{}`", url.path())
            }
        }
    }
}

impl fmt::Debug for CatalogLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_sent_but_never_shown() {
        let password = SecretString::from("p@ss/word".to_owned());
        let url = "postgres://me@db.example/catalog?sslmode=require";
        let location = CatalogLocation::resolve(Some(url), Some(&password), Path::new("/state")).unwrap();
        let shown = format!("{location} {location:?}");
        assert!(!shown.contains("word"), "{shown}");
        assert_eq!(location.url().unwrap().password(), Some("p%40ss%2Fword"));
    }

    #[test]
    fn a_password_that_looks_like_an_escape_arrives_as_it_is() {
        use std::str::FromStr as _;
        for word in ["%41", "100%", "%", "a%2Fb%zz", "ä:@/?#[] "] {
            let password = SecretString::from(word.to_owned());
            let location =
                CatalogLocation::resolve(Some("postgres://me@db/catalog"), Some(&password), Path::new("/s"))
                    .unwrap();
            let url = location.url().unwrap();
            let options = sqlx::postgres::PgConnectOptions::from_str(url.as_str()).unwrap();
            assert!(
                format!("{options:?}").contains(&format!("password: Some({word:?})")),
                "{word}: {options:?}"
            );
        }
    }

    #[test]
    fn any_path_can_hold_the_file() {
        let location = CatalogLocation::resolve(None, None, Path::new("/a b/50%?#")).unwrap();
        assert_eq!(location.url().unwrap().as_str(), "sqlite:///a%20b/50%25%3F%23/catalog.db?mode=rwc");
        let location = CatalogLocation::resolve(Some("sqlite:/x/y.db"), None, Path::new("/state")).unwrap();
        assert!(matches!(location, CatalogLocation::Sqlite(path) if path == Path::new("/x/y.db")));
        assert!(CatalogLocation::resolve(Some("mysql://x"), None, Path::new("/state")).is_err());
    }
}
