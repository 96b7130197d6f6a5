//! Resolves the login to an RDS database.

use super::ResolveBase;
use super::methods::unused;
use super::postgres::{logical_dump, url_or_ref};
use crate::policy::address::{PostgresUrl, UrlOrRef};
use crate::policy::aws_location::AwsLocation;
use crate::policy::decode::{Diagnostics, Spanned};
use crate::policy::postgres::{PasswordSource, PostgresSource};
use crate::policy::schema::{AuthenticationWord, RdsTable};

pub(super) fn login(
    table: &Spanned<RdsTable>,
    place: &AwsLocation,
    dumps: bool,
    base: ResolveBase<'_>,
    log: &mut Diagnostics<'_>,
) -> Option<Box<PostgresSource>> {
    if !dumps {
        unused(&table.logical, "it goes with `methods = [\"snapshot\", \"logical\"]`", log);
    }
    let Some(url) = &table.url else {
        unused(&table.password, "it goes with `url`", log);
        unused(&table.authentication, "it goes with `url`", log);
        if dumps && !log.has_faults_at(&table.spot.below("url")) {
            log.missing(&table.spot, "url", "\"postgres://user@host:5432/database?sslmode=verify-full\"");
        }
        return None;
    };
    let by_token = table.authentication.as_deref() == Some(&AuthenticationWord::Iam);
    let password = if by_token {
        let hint = "with `authentication = \"iam\"` the password is a token: remove one of the two";
        unused(&table.password, hint, log);
        token_url(url, place, log);
        Some(PasswordSource::IamToken(Box::new(place.clone())))
    } else {
        base.secret(&table.password).map(PasswordSource::Secret)
    };
    let (url, url_ref) = url_or_ref(Some(url), base);
    Some(Box::new(PostgresSource {
        url,
        url_ref,
        password,
        tools: None,
        logical: dumps.then(|| logical_dump(table.logical.as_deref())),
        base: None,
        wal: None,
    }))
}

/// Checks a URL for IAM tokens. A token is valid for a quarter of an hour for anyone who has it, so it is
/// sent to verified servers only; and RDS accepts it only with the role, host and port it was signed for.
fn token_url(at: &Spanned<PostgresUrl>, place: &AwsLocation, log: &mut Diagnostics<'_>) {
    let UrlOrRef::Url(url) = &at.0 else {
        let hint = "write the URL itself: with `authentication = \"iam\"` it holds no secret";
        return log.fault(&at.spot, "is a reference, and a token is signed for what it says", hint);
    };
    let named = |key: &str| url.query_pairs().find(|(name, _)| name == key).map(|(_, value)| value);
    if named("sslmode").as_deref() != Some("verify-full") {
        let hint = "add `?sslmode=verify-full&sslrootcert=/path/of/rds-global-bundle.pem`";
        log.fault(&at.spot, "would show an IAM token to a server that is not verified", hint);
    }
    if url.username().is_empty() && named("user").is_none() {
        log.fault(&at.spot, "names no role", "put it before the host: `postgres://user@host:5432/database`");
    }
    let host = named("host").map_or_else(|| url.host_str().unwrap_or_default().to_owned(), Into::into);
    if place.endpoint.is_none() {
        of_rds(&host, place, at, log);
    }
}

/// Requires a host name of RDS: no certificate of RDS and no token covers an alias.
fn of_rds(host: &str, place: &AwsLocation, at: &Spanned<PostgresUrl>, log: &mut Diagnostics<'_>) {
    let host = host.to_ascii_lowercase();
    let Some((before, _)) = host.split_once(".rds.") else {
        let hint = "write the endpoint as RDS names it, like `shop.abcdefghijkl.us-east-1.rds.amazonaws.com`";
        let message = format!("names `{host}`, and an IAM token is good for RDS's own names only");
        return log.fault(&at.spot, message, hint);
    };
    let region = before.rsplit('.').next().unwrap_or_default();
    if region != place.region && !place.region.is_empty() {
        let message = format!("names an endpoint in `{region}`, and the source is in `{}`", place.region);
        log.fault(&at.spot, message, "correct the host, or `region`");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::policy::{Policy, parse};

    const HOST: &str = "shop.abcdefghijkl.us-east-1.rds.amazonaws.com";

    fn policy(login: &str) -> Result<Policy, String> {
        let text = format!(
            r#"
[system]
name = "shop"
[objectives]
rto = "4h"
rpo = "1h"
[repository.primary]
directory = "/var/backups/shop"
[encryption]
danger_unencrypted = true
[sources.instance]
kind = "rds"
region = "us-east-1"
instance = "shop"
authentication = "iam"
{login}
"#
        );
        parse(Path::new("shop.toml"), &text).map_err(|faults| faults.to_string())
    }

    fn url(rest: &str) -> Result<Policy, String> {
        policy(&format!("url = \"{rest}\""))
    }

    #[test]
    fn a_token_is_signed_by_the_place_of_the_source() {
        let policy = url(&format!("postgres://drctl@{HOST}/shop?sslmode=verify-full")).unwrap();
        let rds = policy.sources[0].rds().unwrap();
        let Some(PasswordSource::IamToken(place)) = &rds.login.as_ref().unwrap().password else {
            panic!("another password")
        };
        assert_eq!(place.region, "us-east-1");
    }

    #[test]
    fn what_makes_no_sense_with_a_token_is_refused() {
        let refused = |outcome: Result<Policy, String>, words: &str| {
            let faults = outcome.map(drop).unwrap_err();
            assert!(faults.contains(words), "{faults}");
        };
        refused(url(&format!("postgres://drctl@{HOST}/shop")), "a server that is not verified");
        refused(url(&format!("postgres://drctl@{HOST}/shop?sslmode=verify-ca")), "not verified");
        refused(url(&format!("postgres://{HOST}/shop?sslmode=verify-full")), "names no role");
        refused(url("postgres://drctl@db.shop.internal/shop?sslmode=verify-full"), "RDS's own names");
        let elsewhere = HOST.replace("us-east-1", "eu-west-1");
        refused(url(&format!("postgres://drctl@{elsewhere}/shop?sslmode=verify-full")), "in `eu-west-1`");
        refused(url("env:DATABASE_URL"), "is a reference");
        refused(policy(""), "it goes with `url`");
        let both =
            format!("url = \"postgres://drctl@{HOST}/shop?sslmode=verify-full\"\npassword = \"env:PW\"");
        refused(policy(&both), "remove one of the two");
    }
}
