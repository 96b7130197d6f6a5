use super::builder::Builder;
use super::role::{IamRole, partition};
use super::{Conditions, IamError};
use crate::platform::SecretRef;
use crate::policy::{Credentials, PasswordSource, PostgresSource, RepositoryLocation, Source};

/// Adds the right to read the policy's secrets in Secrets Manager, separately for each role.
pub(super) fn add(builder: &mut Builder<'_>) -> Result<(), IamError> {
    let mut ids: Vec<String> = Vec::new();
    for reference in references(builder) {
        if let SecretRef::SecretsManager { id, .. } = reference {
            ids.push(id.clone());
        }
    }
    for id in ids {
        let arn = match id.starts_with("arn:") {
            true => id,
            // AWS appends six characters to a name, and the region depends on the host.
            false => {
                let account = builder.account_or(None, "a secret in Secrets Manager")?;
                format!("arn:{}:secretsmanager:*:{}:secret:{id}-??????", home(builder), account.as_str())
            }
        };
        let read = ["secretsmanager:GetSecretValue"];
        builder.document.allow("ReadSecretsOfPolicy", &read, [arn], Conditions::default());
    }
    Ok(())
}

fn home(builder: &Builder<'_>) -> &'static str {
    let s3 = builder.policy.repositories.iter().find_map(|repository| match &repository.place {
        RepositoryLocation::S3(place) if place.endpoint.is_none() => Some(place.region.as_str()),
        RepositoryLocation::S3(_) | RepositoryLocation::Directory(_) => None,
    });
    partition(s3.unwrap_or_default())
}

fn references<'p>(builder: &Builder<'p>) -> Vec<&'p SecretRef> {
    let (policy, role) = (builder.policy, builder.role);
    if role == IamRole::BreakGlass {
        // A promotion uses the source's access to RDS, and then logs in to production.
        let databases = policy.sources.iter().filter_map(Source::rds);
        let asked = databases.flat_map(|rds| {
            let login = rds.login.iter().flat_map(|login| of_database(login));
            of_credentials(&rds.place.credentials).into_iter().chain(login)
        });
        return asked.collect();
    }
    let mut known: Vec<&SecretRef> = policy.catalog_password.iter().collect();
    for repository in &policy.repositories {
        let RepositoryLocation::S3(place) = &repository.place else { continue };
        known.extend(of_credentials(&place.credentials));
    }
    for source in &policy.sources {
        if let Some(location) = source.aws_location() {
            known.extend(of_credentials(&location.credentials));
        }
        // A backup accesses the databases; a restore of an instance accesses its contents.
        let is_asked = match role {
            IamRole::Writer => true,
            IamRole::Restorer => source.rds().is_some(),
            _ => false,
        };
        if is_asked {
            known.extend(source.login().into_iter().flat_map(of_database));
        }
    }
    if role == IamRole::Restorer {
        known.extend(policy.drill.iter().filter_map(|drill| drill.identity.as_ref()));
    }
    known
}

fn of_credentials(credentials: &Credentials) -> Vec<&SecretRef> {
    match credentials {
        Credentials::Keys { access_key_id, secret_access_key, session_token } => {
            [access_key_id, secret_access_key].into_iter().chain(session_token).collect()
        }
        Credentials::Default | Credentials::Profile(_) | Credentials::Role { .. } => vec![],
    }
}

fn of_database(postgres: &PostgresSource) -> Vec<&SecretRef> {
    let base = postgres.base.as_ref().and_then(|base| base.url_ref.as_ref());
    let password = match &postgres.password {
        Some(PasswordSource::Secret(reference)) => Some(reference),
        // Its credentials are those of the location.
        Some(PasswordSource::IamToken(_)) | None => None,
    };
    postgres.url_ref.iter().chain(password).chain(base).collect()
}
